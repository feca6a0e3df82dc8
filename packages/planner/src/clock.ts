/** Milliseconds that never go back, in Node and in a browser: what budgets are measured with. */
export function nowMs(): number {
  return (globalThis as unknown as { readonly performance: { now(): number } }).performance.now();
}
