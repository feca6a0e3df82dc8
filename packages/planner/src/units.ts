/** Bytes per ms of 1 Mbit/s. */
export const BYTES_PER_MS = 125;
