/** Binary PPM (P6), the picture format of pipes: http://netpbm.sourceforge.net/doc/ppm.html. 8 bits a channel. */

export interface PpmHeader {
  readonly width: number;
  readonly height: number;
  /** Where the pixels begin, in bytes. */
  readonly start: number;
}

const MAGIC = /^P6[\s#]/;
/** `P6`, width, height and largest value, with white space and comments between. */
const HEADER = /^P6(?:\s|#[^\n]*\n)+(\d{1,6})(?:\s|#[^\n]*\n)+(\d{1,6})(?:\s|#[^\n]*\n)+(\d{1,5})\s/;
/** No header is longer, its comments included. */
const MAX_HEADER = 4096;

export function isPpm(bytes: Uint8Array): boolean {
  return MAGIC.test(Buffer.from(bytes.subarray(0, 3)).toString('latin1'));
}

/** The header of a PPM; undefined while more bytes are needed, a text about what is wrong otherwise. */
export function ppmHeader(bytes: Uint8Array): PpmHeader | string | undefined {
  const text = Buffer.from(bytes.subarray(0, MAX_HEADER)).toString('latin1');
  const match = HEADER.exec(text);
  if (match === null) return text.length < MAX_HEADER ? undefined : 'no header of a PPM';
  const [width, height, largest] = match.slice(1).map(Number) as [number, number, number];
  if (width < 1 || height < 1) return `${width} × ${height} pixels`;
  if (largest !== 255) return `values up to ${largest}, not 255`;
  return { width, height, start: match[0].length };
}
