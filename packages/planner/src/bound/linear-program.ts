/**
 * A linear programme being written, and a lower bound on its optimum that does not trust the solver: whatever multipliers
 * the solver (HiGHS) gives, weak duality with the variables' bounds turns them into a true bound.
 */
import highsModule, { type Highs } from 'highs';

/** The package's types describe its CommonJS build, where the loader is a property of the default export. */
const loadHighs = highsModule as unknown as () => Promise<Highs>;

let loading: Promise<Highs> | undefined;

/** min cost · x, every row: sum ≥ its right-hand side, 0 ≤ x ≤ upper. */
export class LinearProgram {
  readonly #costs: number[] = [];
  readonly #upper: number[] = [];
  readonly #starts: number[] = [0];
  readonly #indices: number[] = [];
  readonly #values: number[] = [];
  readonly #atLeast: number[] = [];

  get variables(): number {
    return this.#costs.length;
  }

  /** A variable between 0 and `upper` (finite); returns its index. */
  variable(upper: number, cost = 0): number {
    this.#costs.push(cost);
    this.#upper.push(upper);
    return this.#costs.length - 1;
  }

  /** Σ coefficient · variable ≥ atLeast. A variable must not occur twice. */
  row(terms: readonly (readonly [variable: number, coefficient: number])[], atLeast: number): void {
    for (const [variable, coefficient] of terms) {
      this.#indices.push(variable);
      this.#values.push(coefficient);
    }
    this.#starts.push(this.#indices.length);
    this.#atLeast.push(atLeast);
  }

  /** A proven lower bound on the optimum. `seconds` limits the solver; the bound holds even where it stops early. */
  async lowerBound(seconds: number): Promise<number> {
    loading ??= loadHighs();
    const highs = await loading;
    const numRows = this.#atLeast.length;
    const numCols = this.#costs.length;
    const duals = highs.withModel(
      {
        numCols,
        numRows,
        colCost: this.#costs,
        colLower: new Float64Array(numCols),
        colUpper: this.#upper,
        rowLower: this.#atLeast,
        rowUpper: new Float64Array(numRows).fill(highs.infinity),
        matrix: { format: 'csr', numRows, numCols, starts: this.#starts, indices: this.#indices, values: this.#values },
      },
      (model): ArrayLike<number> => {
        model.options.set({ output_flag: false, solver: 'simplex', time_limit: seconds });
        model.run();
        return model.getSolution().rowDual;
      },
    );
    return this.#weakDuality(duals);
  }

  /** min over the box of (cost − Σ dual · row) · x, plus Σ dual · right-hand side: below the optimum for any duals ≥ 0. */
  #weakDuality(duals: ArrayLike<number>): number {
    const reduced = Float64Array.from(this.#costs);
    let bound = 0;
    for (let row = 0; row < this.#atLeast.length; row++) {
      const dual = Math.max(0, duals[row] ?? 0);
      if (!(dual > 0)) continue;
      bound += dual * (this.#atLeast[row] as number);
      for (let at = this.#starts[row] as number; at < (this.#starts[row + 1] as number); at++) {
        const column = this.#indices[at] as number;
        reduced[column] = (reduced[column] as number) - dual * (this.#values[at] as number);
      }
    }
    for (let column = 0; column < reduced.length; column++) {
      const cost = reduced[column] as number;
      if (cost < 0) bound += cost * (this.#upper[column] as number);
    }
    return bound;
  }
}
