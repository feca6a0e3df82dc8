/** What is left of a range of rows when others are taken out of it, without making anything new each time. */

export class Lacks {
  /** Ranges left, in any order: [from[i], to[i]). */
  count = 0;
  from: Int32Array = new Int32Array(64);
  to: Int32Array = new Int32Array(64);

  begin(from: number, to: number): void {
    this.count = to > from ? 1 : 0;
    this.from[0] = from;
    this.to[0] = to;
  }

  /** Takes a range out. Returns whether any of it was left. */
  take(from: number, to: number): boolean {
    let met = false;
    for (let at = this.count - 1; at >= 0; at--) {
      const a = this.from[at] as number;
      const b = this.to[at] as number;
      if (from >= b || to <= a || from >= to) continue;
      met = true;
      if (from > a) {
        this.to[at] = from;
        if (to < b) this.#add(to, b);
      } else if (to < b) this.from[at] = to;
      else {
        this.count--;
        this.from[at] = this.from[this.count] as number;
        this.to[at] = this.to[this.count] as number;
      }
    }
    return met;
  }

  #add(from: number, to: number): void {
    if (this.count === this.from.length) {
      this.from = grown(this.from);
      this.to = grown(this.to);
    }
    this.from[this.count] = from;
    this.to[this.count++] = to;
  }
}

/** A copy with twice the room. */
export function grown(array: Int32Array): Int32Array {
  const larger = new Int32Array(Math.max(64, 2 * array.length));
  larger.set(array);
  return larger;
}

/** The same for floating-point numbers. */
export function grownDoubles(array: Float64Array): Float64Array {
  const larger = new Float64Array(Math.max(64, 2 * array.length));
  larger.set(array);
  return larger;
}
