/**
 * Engines and links whose work takes a random while, so that images meet in every order that is possible: what must not
 * depend on timing is tested under all kinds of it. Time is counted in turns of the event loop; the same seed gives the
 * same delays.
 */
import { createOrtEngine, type Engine, type Link, type Transport } from '@distredge/runtime';

/** Waits for up to `most` turns of the event loop. */
async function turns(random: () => number, most: number): Promise<void> {
  for (let left = Math.floor(random() * (most + 1)); left > 0; left--) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** onnxruntime with pauses before and after every step. */
export function unsteadyEngine(random: () => number): Engine {
  const engine = createOrtEngine();
  return {
    name: engine.name,
    blocks: engine.blocks,
    load: (model) => engine.load(model),
    run: (call) => engine.run(call),
    unload: (model) => engine.unload(model),
    clearSlots: () => engine.clearSlots(),
    close: () => engine.close(),
    async fix(calls) {
      const fixed = await engine.fix(calls);
      return {
        outputs: (call) => fixed.outputs(call),
        async run(call, set) {
          await turns(random, 4);
          const result = await fixed.run(call, set);
          await turns(random, 4);
          return result;
        },
      };
    },
  };
}

/** A transport whose links read the bytes of a frame only some turns after it was sent, in order. */
export function unsteadyTransport(transport: Transport, random: () => number): Transport {
  const slow = (link: Link): Link => {
    let last: Promise<unknown> = Promise.resolve();
    return {
      remote: link.remote,
      close: (error) => link.close(error),
      send(header, payload) {
        const sent = last.then(() => turns(random, 6)).then(() => link.send(header, payload));
        last = sent.catch(() => undefined);
        return sent.then(() => turns(random, 3));
      },
    };
  };
  return {
    name: 'unsteady',
    dial: async (address, handlers, options) =>
      slow(await transport.dial(address, (link) => handlers(slow(link)), options)),
    listen: (address, handlers, options) => transport.listen(address, (link) => handlers(slow(link)), options),
  };
}
