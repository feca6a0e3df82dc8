/** What long-running commands print: lines as things happen, for people or, with `--json`, one JSON object each. */
import type { ControllerEvent } from '@distredge/runtime';
import { ms, plain, print, styled } from '../output.js';

/** Prints one event as JSON. */
export function jsonLine(event: string, facts: object): void {
  print(JSON.stringify({ event, at: Date.now(), ...facts }));
}

/** An event of the controller in a sentence. */
function sentence(event: ControllerEvent): string {
  switch (event.type) {
    case 'device':
      return event.change === 'joined'
        ? `${event.name} joined`
        : `${event.name} ${event.change === 'left' ? 'left' : 'is lost'}`;
    case 'profiled':
      return `${event.id}: what it takes for the model is known`;
    case 'link':
      return `${event.from} – ${event.to}: ${event.mbps.toFixed(0)} Mbit/s, ${event.latencyMs.toFixed(2)} ms`;
    case 'plan':
      return `plan ${event.generation} is in force on ${event.devices.join(', ')} (${REASONS[event.reason]}): predicted ${ms(event.predictedMs)} for an image; ready after ${ms(event.tookMs)}`;
    case 'standby':
      return `a plan without ${event.without} stands by on ${event.devices.join(', ')}: predicted ${ms(event.predictedMs)} for an image`;
    case 'kept':
      return `plan ${event.generation} stays: predicted ${ms(event.runningMs)}, the best other one ${ms(event.bestMs)}`;
    case 'fallback':
      return `an image is finished ${event.to === 'plan' ? 'on the next plan' : 'on this machine, unsplit'}: ${event.error.message}${event.error.where === undefined ? '' : ` (${event.error.where})`}`;
    case 'late':
      return `an image is late (${ms(event.ms)}, where ${ms(event.expectedMs)} is usual) for want of ${event.ids.join(', ')}: begun again ${event.to === 'plan' ? 'on the next plan' : 'on this machine, unsplit'}`;
    case 'raced':
      return `an image that was late was done ${event.by === 'first' ? 'where it was' : 'where it was begun again'} first, after ${ms(event.ms)}`;
    case 'drift':
      return event.what === 'compute'
        ? `${event.id} computes ${event.factor.toFixed(2)} times as long as predicted`
        : `images take ${event.factor.toFixed(2)} times as long as they did: measuring the links`;
    case 'broker':
      return event.connected
        ? 'connected to the broker'
        : 'the broker is away: images go on, devices cannot join meanwhile';
    case 'problem':
      return `${event.error.code}: ${event.error.message}${event.error.where === undefined ? '' : ` (${event.error.where})`}${event.held === undefined ? '' : `; ${event.held} more were not told`}`;
  }
}

const REASONS = {
  joined: 'a device joined',
  lost: 'a device is lost',
  failed: 'the last one failed',
  measured: 'links were measured',
  drift: 'times have changed',
} as const;

const WARNINGS: ReadonlySet<ControllerEvent['type']> = new Set(['fallback', 'late', 'problem', 'drift']);

/** Prints an event of the controller. */
export function tellEvent(event: ControllerEvent, json: boolean): void {
  if (json) {
    const { type, ...facts } = event;
    jsonLine(type, 'error' in facts ? { ...facts, error: facts.error.toJSON() } : facts);
    return;
  }
  const text = plain(sentence(event));
  print(WARNINGS.has(event.type) ? styled('yellow', text) : text);
}
