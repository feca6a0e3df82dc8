/**
 * The scenarios that the testbed measures when it is given no others: unlike types, unlike links, a shared medium, sixteen
 * devices. In the format of a file of scenarios; the types are those that are built in.
 */
const device = (type: string, id: number, mbps: number, latency_ms: number) => ({
  id: `${type}-${id}`,
  type,
  mbps,
  latency_ms,
});

function scenario(
  id: string,
  model: string,
  types: readonly string[],
  rates: readonly number[],
  { medium = 'switched', latency = 1 }: { medium?: string; latency?: number } = {},
) {
  const cluster = {
    medium,
    requester: { mbps: Math.max(...rates), latency_ms: latency },
    devices: types.map((type, index) => device(type, index, rates[index % rates.length] as number, latency)),
  };
  return { id: `${id}/${model}`, model, cluster };
}

const times = (count: number, ...types: readonly string[]): string[] =>
  Array.from({ length: count }, () => types).flat();

/** Unchecked, as a file's content is. */
export const BUILT_IN: unknown = {
  version: 1,
  devices: {},
  scenarios: [
    scenario('two', 'resnet50', times(2, 'nano'), [100]),
    scenario('two', 'vgg16', ['tx2', 'nano'], [200, 100]),
    scenario('types', 'vgg16', ['xavier', 'tx2', 'nano', 'pi4'], [100]),
    scenario('types', 'yolov2', ['pi4', 'pi4', 'nano', 'nano'], [200]),
    scenario('types', 'resnet50', ['xavier', 'tx2', 'nano', 'pi4'], [50]),
    scenario('links', 'vgg16', times(4, 'nano'), [50, 50, 200, 200]),
    scenario('links', 'inception_v3', times(4, 'pi4'), [50, 100, 200, 300]),
    scenario('links', 'ssd_vgg16', times(4, 'tx2'), [200, 200, 300, 300]),
    scenario('wifi', 'vgg16', ['laptop', 'phone', 'pi5', 'pi4'], [120], { medium: 'shared', latency: 2 }),
    scenario('wifi', 'resnet50', ['laptop', 'phone', 'pi5', 'pi4'], [120], { medium: 'shared', latency: 2 }),
    scenario('desk', 'vgg16', times(4, 'pi5'), [940], { latency: 0.2 }),
    scenario('sixteen', 'vgg16', times(16, 'pi4'), [200]),
    scenario('sixteen', 'yolov2', times(4, 'pi3', 'pi4', 'nano', 'pi4'), [50, 100, 200, 300]),
  ],
};
