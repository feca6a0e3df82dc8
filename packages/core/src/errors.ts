/**
 * The one error class of the project. Every failure that a user can meet carries a stable code, the
 * place it happened, what was expected, what came instead, and what to do about it.
 */

/** Stable, machine-readable names of everything that can go wrong. */
export type ErrorCode =
  | 'USAGE'
  | 'FILE'
  | 'IMAGE_INVALID'
  | 'MODEL_INVALID'
  | 'MODEL_LIMIT'
  | 'MODEL_CYCLE'
  | 'MODEL_MISSING_VALUE'
  | 'MODEL_EXTERNAL_DATA'
  | 'OP_INVALID'
  | 'SHAPE_UNKNOWN'
  | 'SHAPE_MISMATCH'
  | 'PLAN_INVALID'
  | 'PROFILE_INVALID'
  | 'CLUSTER_INVALID'
  | 'AGENT_INVALID'
  | 'ADDRESS_INVALID'
  | 'ADDRESS_IN_USE'
  | 'ADDRESS_NOT_LOOPBACK'
  | 'IDENTITY_INVALID'
  | 'JOIN_REFUSED'
  | 'PEER_REFUSED'
  | 'LINK_FAILED'
  | 'LINK_CLOSED'
  | 'FRAME_INVALID'
  | 'PROTOCOL'
  | 'PROVIDER_LOST'
  | 'PROVIDER_FAILED'
  | 'ENGINE_FAILED'
  | 'DEADLINE'
  | 'CANCELLED'
  | 'INTERNAL';

/** The facts that go with an error; each is a short phrase, shown to people and put into `--json`. */
export interface ErrorFacts {
  /** The place: a file, a node, a tensor, an address, a byte offset. */
  readonly where?: string;
  /** What would have been right. */
  readonly expected?: string;
  /** What was found instead. */
  readonly got?: string;
  /** What the reader can do about it. */
  readonly hint?: string;
  /** The lower-level error behind this one. */
  readonly cause?: unknown;
}

/** An error with a stable `code` and the facts a person needs to act on it. */
export class DistrEdgeError extends Error {
  override readonly name = 'DistrEdgeError';
  readonly code: ErrorCode;
  readonly where: string | undefined;
  readonly expected: string | undefined;
  readonly got: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.where = facts.where;
    this.expected = facts.expected;
    this.got = facts.got;
    this.hint = facts.hint;
  }

  /** The error as plain data: what `--json` prints and what crosses a process boundary. */
  toJSON(): Record<string, string> {
    const fields = {
      code: this.code,
      message: this.message,
      where: this.where,
      expected: this.expected,
      got: this.got,
      hint: this.hint,
    };
    return Object.fromEntries(
      Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
  }
}
