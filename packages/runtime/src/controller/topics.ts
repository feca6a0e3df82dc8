/**
 * The topics of a cluster: `distredge/<cluster>/…`. State that a newcomer must find is retained; everything else is not.
 *
 *   controller                     retained  the controller, with a last will
 *   plan                           retained  the plan that runs, and what it promises
 *   models/<hash>                  retained  a model without its weights, to be profiled
 *   revocations                    retained  the certificates that were taken back, signed by the cluster's CA
 *   telemetry, events                        what images took; what happened
 *   ask, answers/<request>                   anybody asks the controller whether it is there
 *   devices/<id>/announce          retained  what a device is and where its data links are dialled
 *   devices/<id>/status            retained  online, left, or lost (the last will)
 *   devices/<id>/profile/<hash>    retained  what it takes for a model
 *   devices/<id>/link/<peer>       retained  its link to another device, or to the controller
 *   devices/<id>/orders                      from the controller
 *   devices/<id>/answer                      to the controller
 */
import { DistrEdgeError } from '@distredge/core';

/** Name of a cluster, device, model hash or request: one level of a topic, harmless in a terminal and a file name. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** What links call the controller, where devices have their ids. */
export const CONTROLLER = 'controller';

/** Where a message of a cluster belongs. */
export type Topic =
  | { readonly kind: 'controller' | 'plan' | 'revocations' | 'telemetry' | 'events' | 'ask' }
  | { readonly kind: 'model'; readonly hash: string }
  | { readonly kind: 'answers'; readonly request: string }
  | { readonly kind: 'announce' | 'status' | 'orders' | 'answer'; readonly id: string }
  | { readonly kind: 'profile'; readonly id: string; readonly hash: string }
  | { readonly kind: 'link'; readonly id: string; readonly peer: string };

export type TopicKind = Topic['kind'];

/** Whether a text can be the name of a cluster or a device: 1 to 64 letters, digits, dots, dashes and underscores. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/** Throws `USAGE` for a text that can be no name. */
export function checkName(text: string, what: string): string {
  if (isName(text)) return text;
  throw new DistrEdgeError('USAGE', `${JSON.stringify(text.slice(0, 100))} cannot be the name of ${what}`, {
    where: what,
    expected: '1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first',
  });
}

/** The topic as the broker knows it. */
export function topicOf(cluster: string, topic: Topic): string {
  return `distredge/${cluster}/${pathOf(topic)}`;
}

function pathOf(topic: Topic): string {
  switch (topic.kind) {
    case 'model':
      return `models/${topic.hash}`;
    case 'answers':
      return `answers/${topic.request}`;
    case 'announce':
    case 'status':
    case 'orders':
    case 'answer':
      return `devices/${topic.id}/${topic.kind}`;
    case 'profile':
      return `devices/${topic.id}/profile/${topic.hash}`;
    case 'link':
      return `devices/${topic.id}/link/${topic.peer}`;
    default:
      return topic.kind;
  }
}

/** Reads a topic; undefined for any that is none of this cluster's. */
export function parseTopic(cluster: string, text: string): Topic | undefined {
  const [root, of, first, second, third, fourth, ...more] = text.split('/');
  if (root !== 'distredge' || of !== cluster || more.length > 0) return undefined;
  const names = [second, third, fourth].filter((name) => name !== undefined);
  if (!names.every(isName)) return undefined;
  if (first === 'devices' && second !== undefined) {
    if (fourth === undefined)
      return third === 'announce' || third === 'status' || third === 'orders' || third === 'answer'
        ? { kind: third, id: second }
        : undefined;
    if (third === 'profile') return { kind: 'profile', id: second, hash: fourth };
    return third === 'link' ? { kind: 'link', id: second, peer: fourth } : undefined;
  }
  if (third !== undefined) return undefined;
  if (second !== undefined) {
    if (first === 'models') return { kind: 'model', hash: second };
    return first === 'answers' ? { kind: 'answers', request: second } : undefined;
  }
  const plain = ['controller', 'plan', 'revocations', 'telemetry', 'events', 'ask'] as const;
  const kind = plain.find((name) => name === first);
  return kind === undefined ? undefined : { kind };
}

/** Whether a topic is one that a filter with `+` and `#` asks for. */
export function matches(filter: string, topic: string): boolean {
  const levels = topic.split('/');
  const wanted = filter.split('/');
  for (const [index, level] of wanted.entries()) {
    if (level === '#') return true;
    if (level !== '+' && level !== levels[index]) return false;
    if (levels[index] === undefined) return false;
  }
  return wanted.length === levels.length;
}
