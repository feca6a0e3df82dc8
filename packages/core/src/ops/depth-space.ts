/**
 * DepthToSpace and SpaceToDepth: blocks of pixels become channels and back (pixel shuffle). Specification:
 * https://onnx.ai/onnx/operators/onnx__DepthToSpace.html and https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html
 */
import { emitCopy, like, type OpFamily, type OpView, type Range, whole } from './op.js';

function sizesOf(view: OpView): { block: number; sizes: readonly [number, number, number, number] } {
  const block = view.attributes.int('blocksize', 0);
  const [batch, channels, height, width, ...more] = view.shape(0);
  if (batch === undefined || channels === undefined || height === undefined || width === undefined || more.length > 0) {
    throw view.invalid('the input is not [batch, channels, height, width]', { got: `[${view.shape(0).join(', ')}]` });
  }
  if (block < 1) throw view.invalid(`attribute 'blocksize' is not positive`, { got: `${block}` });
  return { block, sizes: [batch, channels, height, width] };
}

export const depthToSpace: OpFamily = {
  ops: ['DepthToSpace'],
  infer(view) {
    const { block, sizes } = sizesOf(view);
    const [batch, channels, height, width] = sizes;
    if (channels % block ** 2 !== 0) {
      throw view.invalid('the channels do not fill whole blocks', {
        expected: `a multiple of ${block ** 2}`,
        got: `${channels}`,
      });
    }
    return like(view, [batch, channels / block ** 2, height * block, width * block]);
  },
  rows(view, axes) {
    const { block } = sizesOf(view);
    const [axis = 0] = axes;
    if (axis < 2) return whole('its rows are not along a spatial axis');
    const blocks = (out: Range): Range => ({ from: Math.floor(out.from / block), to: Math.ceil(out.to / block) });
    return {
      kind: 'local',
      axes: [axis],
      need: (out) => [blocks(out)],
      emit({ build, out, input, output }) {
        const { from, to } = blocks(out);
        const spare = to * block - out.to;
        if (out.from === from * block && spare === 0) return build.copy(view.node, [input(0)], [output(0)]);
        const made = `${output(0)}~blocks`;
        build.copy(view.node, [input(0)], [made]);
        build.slice(made, axis, out.from - from * block, spare === 0 ? undefined : -spare, output(0));
      },
    };
  },
};

export const spaceToDepth: OpFamily = {
  ops: ['SpaceToDepth'],
  infer(view) {
    const { block, sizes } = sizesOf(view);
    const [batch, channels, height, width] = sizes;
    if (height % block !== 0 || width % block !== 0) {
      throw view.invalid('the image does not divide into blocks', {
        expected: `multiples of ${block}`,
        got: `${height} x ${width}`,
      });
    }
    return like(view, [batch, channels * block ** 2, height / block, width / block]);
  },
  rows(view, axes) {
    const { block } = sizesOf(view);
    const [axis = 0] = axes;
    if (axis < 2) return whole('its rows are not along a spatial axis');
    return {
      kind: 'local',
      axes: [axis],
      need: (out) => [{ from: out.from * block, to: out.to * block }],
      emit: emitCopy(view),
    };
  },
};
