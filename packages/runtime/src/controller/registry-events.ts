/** From a retained message about a device to the event that the registry takes. */
import { DistrEdgeError } from '@distredge/core';
import { decode } from './messages.js';
import type { RegistryEvent } from './registry.js';
import type { Topic } from './topics.js';

/** Throws `PROTOCOL` where the message is none, or speaks of something else than its topic says. */
export function eventOf(topic: Extract<Topic, { id: string }>, payload: Uint8Array): RegistryEvent {
  const { id } = topic;
  switch (topic.kind) {
    case 'announce': {
      const announcement = decode('announce', payload);
      return { kind: 'announced', announcement: own(announcement, announcement.id, id) };
    }
    case 'status':
      return { kind: 'status', id, status: decode('status', payload) };
    case 'profile': {
      const profile = decode('profile', payload);
      return { kind: 'profiled', id, profile: own(profile, profile.model.hash, topic.hash) };
    }
    case 'link': {
      const report = decode('link', payload);
      return { kind: 'linked', report: own(own(report, report.from, id), report.to, topic.peer) };
    }
    default:
      throw new DistrEdgeError('INTERNAL', 'this topic is no state of a device', { where: topic.kind });
  }
}

/** The message, if it speaks of what its topic says. */
function own<T>(message: T, got: string, expected: string): T {
  if (got === expected) return message;
  throw new DistrEdgeError('PROTOCOL', 'a device spoke of something else than its topic says', { expected, got });
}
