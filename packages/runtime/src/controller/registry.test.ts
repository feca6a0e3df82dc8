import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Announcement, type DeviceStatus, type LinkReport, MESSAGE_VERSION as version } from './messages.js';
import {
  apply,
  EMPTY_REGISTRY,
  isOnline,
  linkKey,
  MAX_DEVICES,
  onlineDevices,
  type Registry,
  type RegistryEvent,
} from './registry.js';

function announced(id: string, session = `${id}1`, at = 1): RegistryEvent {
  const announcement: Announcement = {
    version,
    session,
    id,
    name: id,
    address: 'h:1',
    probe: 'h:2',
    cpu: 'c',
    cores: 1,
    memoryMb: 1,
    threads: 1,
    engine: 'e',
    software: '0',
    at,
  };
  return { kind: 'announced', announcement };
}

function said(id: string, status: DeviceStatus['status'], session = `${id}1`): RegistryEvent {
  return { kind: 'status', id, status: { version, session, status, at: 1 } };
}

function linked(from: string, to: string, mbps: number, at = 1): RegistryEvent {
  const report: LinkReport = { version, from, to, mbps, latencyMs: 1, at };
  return { kind: 'linked', report };
}

const after = (...events: RegistryEvent[]): Registry => events.reduce(apply, EMPTY_REGISTRY);
const online = (registry: Registry): string[] => onlineDevices(registry).map(({ id }) => id);

describe('the registry', () => {
  it('has a device that announced itself and is online, whichever came first', () => {
    expect(online(after(announced('a'), said('a', 'online')))).toEqual(['a']);
    expect(online(after(said('a', 'online'), announced('a')))).toEqual(['a']);
    expect(online(after(announced('a')))).toEqual([]);
    expect(online(after(said('a', 'online')))).toEqual([]);
  });

  it.each(['left', 'lost'] as const)('does not have one that %s', (status) => {
    expect(online(after(announced('a'), said('a', 'online'), said('a', status)))).toEqual([]);
  });

  it('does not take the last will of an earlier process for the new one', () => {
    const registry = after(
      announced('a', 's1'),
      said('a', 'online', 's1'),
      announced('a', 's2', 2),
      said('a', 'lost', 's1'),
    );
    expect(online(registry)).toEqual([]);
    expect(online(apply(registry, said('a', 'online', 's2')))).toEqual(['a']);
  });

  it('forgets the links of a device that started anew, not those of others', () => {
    const registry = after(
      announced('a'),
      announced('b'),
      linked('a', 'b', 1),
      linked('b', 'c', 2),
      announced('a', 's2', 2),
    );
    expect([...registry.links.keys()]).toEqual([linkKey('b', 'c')]);
  });

  it('keeps the newest figures of a link, for both directions', () => {
    const registry = after(linked('a', 'b', 10, 5), linked('b', 'a', 20, 6), linked('a', 'b', 30, 4));
    expect(registry.links.get(linkKey('a', 'b'))?.mbps).toBe(20);
    expect(after(linked('a', 'a', 1)).links.size).toBe(0);
  });

  it('forgets a device with its links', () => {
    const registry = after(announced('a'), linked('a', 'b', 1), { kind: 'forgotten', id: 'a' });
    expect([registry.devices.size, registry.links.size]).toEqual([0, 0]);
  });

  it('does not grow beyond what a plan may have', () => {
    let registry = EMPTY_REGISTRY;
    for (let index = 0; index < MAX_DEVICES + 10; index++) registry = apply(registry, announced(`d${index}`));
    expect(registry.devices.size).toBe(MAX_DEVICES);
  });

  it('is the same whatever order the last states of devices come in', () => {
    const states = ['a', 'b', 'c'].flatMap((id) => [
      announced(id),
      said(id, id === 'b' ? 'lost' : 'online'),
      linked(id, 'x', 5),
    ]);
    const wanted = after(...states);
    fc.assert(
      fc.property(fc.shuffledSubarray(states, { minLength: states.length }), (order) => {
        const got = after(...order);
        expect(online(got)).toEqual(online(wanted));
        expect(new Map([...got.devices].sort())).toEqual(new Map([...wanted.devices].sort()));
        expect(new Map([...got.links].sort())).toEqual(new Map([...wanted.links].sort()));
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it('is never changed itself', () => {
    const before = after(announced('a'));
    apply(before, said('a', 'online'));
    expect([...before.devices.values()].some(isOnline)).toBe(false);
  });
});
