/**
 * What the controller knows of its devices and links: a fold over what they said. `apply` is a pure function from a state and
 * one event to the next state; nothing else changes it. Whatever order retained messages come in, the same state results.
 */
import type { Profile } from '@distredge/core';
import type { Announcement, DeviceStatus, LinkReport } from './messages.js';

/** One device; everything it has not said yet is undefined. */
export interface DeviceRecord {
  readonly id: string;
  readonly announcement: Announcement | undefined;
  readonly status: DeviceStatus | undefined;
  /** By model hash, the oldest first. */
  readonly profiles: ReadonlyMap<string, Profile>;
}

export interface Registry {
  readonly devices: ReadonlyMap<string, DeviceRecord>;
  /** By `linkKey`. */
  readonly links: ReadonlyMap<string, LinkReport>;
}

export type RegistryEvent =
  | { readonly kind: 'announced'; readonly announcement: Announcement }
  | { readonly kind: 'status'; readonly id: string; readonly status: DeviceStatus }
  | { readonly kind: 'profiled'; readonly id: string; readonly profile: Profile }
  | { readonly kind: 'linked'; readonly report: LinkReport }
  | { readonly kind: 'forgotten'; readonly id: string };

/** Devices that one controller keeps in mind; as many as a plan may have. */
export const MAX_DEVICES = 1024;
/** Models of which one device's profile is remembered. */
const MAX_PROFILES = 16;
const MAX_LINKS = 65_536;

export const EMPTY_REGISTRY: Registry = { devices: new Map(), links: new Map() };

/** The same for both directions: a link is taken to be as fast one way as the other. */
export function linkKey(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

/**
 * Whether a device is there: the last status is that it is online, and is of the process that announced itself. The last will
 * of an earlier process of the same device does not count.
 */
export function isOnline({ announcement, status }: DeviceRecord): boolean {
  return announcement !== undefined && status?.status === 'online' && status.session === announcement.session;
}

/** The devices that are there, in the order of their ids. */
export function onlineDevices({ devices }: Registry): (DeviceRecord & { readonly announcement: Announcement })[] {
  return [...devices.values()]
    .filter((device): device is DeviceRecord & { readonly announcement: Announcement } => isOnline(device))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** The next state. Returns the same object where an event changes nothing. */
export function apply(registry: Registry, event: RegistryEvent): Registry {
  switch (event.kind) {
    case 'announced': {
      const { announcement } = event;
      const before = registry.devices.get(announcement.id);
      if (before?.announcement?.session === announcement.session && before.announcement.at >= announcement.at)
        return registry;
      const restarted = before?.announcement !== undefined && before.announcement.session !== announcement.session;
      const next = changed(registry, announcement.id, { announcement });
      // Another process, perhaps on another machine: what its links were is no longer known.
      return restarted ? { ...next, links: without(next.links, announcement.id) } : next;
    }
    case 'status':
      return changed(registry, event.id, { status: event.status });
    case 'profiled': {
      const { profile, id } = event;
      const profiles = new Map(registry.devices.get(id)?.profiles ?? []);
      profiles.delete(profile.model.hash);
      profiles.set(profile.model.hash, profile);
      for (const oldest of [...profiles.keys()].slice(0, Math.max(0, profiles.size - MAX_PROFILES)))
        profiles.delete(oldest);
      return changed(registry, id, { profiles });
    }
    case 'linked': {
      const { report } = event;
      const key = linkKey(report.from, report.to);
      const before = registry.links.get(key);
      if (report.from === report.to || (before !== undefined && before.at > report.at)) return registry;
      if (before === undefined && registry.links.size >= MAX_LINKS) return registry;
      return { ...registry, links: new Map(registry.links).set(key, report) };
    }
    case 'forgotten': {
      if (!registry.devices.has(event.id)) return registry;
      const devices = new Map(registry.devices);
      devices.delete(event.id);
      return { devices, links: without(registry.links, event.id) };
    }
  }
}

function changed(registry: Registry, id: string, change: Partial<DeviceRecord>): Registry {
  const before = registry.devices.get(id);
  if (before === undefined && registry.devices.size >= MAX_DEVICES) return registry;
  const fresh: DeviceRecord = { id, announcement: undefined, status: undefined, profiles: new Map() };
  return { ...registry, devices: new Map(registry.devices).set(id, { ...(before ?? fresh), ...change }) };
}

function without(links: Registry['links'], id: string): Registry['links'] {
  return new Map([...links].filter(([, { from, to }]) => from !== id && to !== id));
}
