import { describe, expect, it } from 'vitest';
import { checkName, isName, matches, parseTopic, type Topic, topicOf } from './topics.js';

const EVERY: Topic[] = [
  { kind: 'controller' },
  { kind: 'plan' },
  { kind: 'revocations' },
  { kind: 'telemetry' },
  { kind: 'events' },
  { kind: 'ask' },
  { kind: 'model', hash: 'abc' },
  { kind: 'answers', request: 'r1' },
  { kind: 'announce', id: 'a' },
  { kind: 'status', id: 'a' },
  { kind: 'orders', id: 'a' },
  { kind: 'answer', id: 'a' },
  { kind: 'profile', id: 'a', hash: 'abc' },
  { kind: 'link', id: 'a', peer: 'b' },
];

describe('topics', () => {
  it.each(EVERY)('of kind $kind are read as they are written', (topic) => {
    expect(parseTopic('home', topicOf('home', topic))).toEqual(topic);
    expect(parseTopic('away', topicOf('home', topic))).toBeUndefined();
  });

  it.each([
    'distredge/home',
    'distredge/home/devices',
    'distredge/home/devices/a',
    'distredge/home/devices/a/nonsense',
    'distredge/home/devices/a/status/more',
    'distredge/home/devices/a/profile/b/c',
    'distredge/home/devices/../status',
    'distredge/home/devices//status',
    'distredge/home/plan/more',
    'distredge/home/models',
    'distredge/home/constructor',
    'other/home/plan',
    '$SYS/home/plan',
    '',
  ])('%j is none of them', (text) => {
    expect(parseTopic('home', text)).toBeUndefined();
  });

  it('have names that are harmless', () => {
    expect(['a', 'A-1_b.c', '0'.repeat(64)].every(isName)).toBe(true);
    expect(['', '.', '-a', 'a/b', 'a b', 'ä', '+', '#', '0'.repeat(65), 'a\u001b'].some(isName)).toBe(false);
    expect(() => checkName('a/b', 'a device')).toThrow('cannot be the name of a device');
  });

  it('match filters as a broker matches them', () => {
    const topic = 'distredge/home/devices/a/status';
    for (const filter of ['#', 'distredge/#', 'distredge/+/devices/+/status', topic])
      expect(matches(filter, topic), filter).toBe(true);
    for (const filter of ['distredge/home', 'distredge/+/devices/+', `${topic}/+`, 'distredge/away/#'])
      expect(matches(filter, topic), filter).toBe(false);
  });
});
