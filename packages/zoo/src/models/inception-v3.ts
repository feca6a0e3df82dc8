/**
 * Inception-v3 without its auxiliary classifier, which only training uses: Szegedy et al. 2015, arXiv 1512.00567, with the
 * sizes of torchvision. Input 299×299. Published: 23,834,568 parameters (torchvision's 27,161,264 less the auxiliary
 * classifier's 3,326,696) and 5.713 G multiply-adds, thus 11.4 GFLOP (torchvision, `inception_v3` weights).
 */
import type { Architecture, Net } from './build.js';
import type { ConvOptions, Layer, Size } from './layer.js';

/** Convolution, batch normalisation and ReLU; the padding keeps the size unless it is given. */
function unit(x: Layer, filters: number, kernel: Size, options: ConvOptions = {}): Layer {
  const sizes = typeof kernel === 'number' ? [kernel, kernel] : kernel;
  const pad = sizes.map((size) => (size - 1) / 2);
  return x
    .conv(filters, kernel, { pad, bias: false, ...options })
    .batchNorm(0.001)
    .relu();
}

const HALVED = { stride: 2, pad: 0 } as const;
const ROW = [1, 7] as const;
const COLUMN = [7, 1] as const;

/** Figure 5 of the paper: 5×5 as two 3×3 in one branch. */
function mixed35(net: Net, x: Layer, pooled: number): Layer {
  return net.concat([
    unit(x, 64, 1),
    unit(unit(x, 48, 1), 64, 5),
    unit(unit(unit(x, 64, 1), 96, 3), 96, 3),
    unit(x.averagePool(3, 1, { pad: 1 }), pooled, 1),
  ]);
}

/** Figure 10: halves the grid to 17×17. */
function reduce17(net: Net, x: Layer): Layer {
  const double = unit(unit(unit(x, 64, 1), 96, 3), 96, 3, HALVED);
  return net.concat([unit(x, 384, 3, HALVED), double, x.maxPool(3, 2)]);
}

/** Figure 6: 7×7 as 1×7 and 7×1. */
function mixed17(net: Net, x: Layer, width: number): Layer {
  const single = unit(unit(unit(x, width, 1), width, ROW), 192, COLUMN);
  const first = unit(unit(unit(x, width, 1), width, COLUMN), width, ROW);
  const double = unit(unit(first, width, COLUMN), 192, ROW);
  return net.concat([unit(x, 192, 1), single, double, unit(x.averagePool(3, 1, { pad: 1 }), 192, 1)]);
}

/** Halves the grid to 8×8. */
function reduce8(net: Net, x: Layer): Layer {
  const single = unit(unit(x, 192, 1), 320, 3, HALVED);
  const seven = unit(unit(unit(x, 192, 1), 192, ROW), 192, COLUMN);
  return net.concat([single, unit(seven, 192, 3, HALVED), x.maxPool(3, 2)]);
}

/** Figure 7: 3×3 as 1×3 and 3×1 side by side. */
function mixed8(net: Net, x: Layer): Layer {
  const beside = (y: Layer): Layer => net.concat([unit(y, 384, [1, 3]), unit(y, 384, [3, 1])]);
  const single = beside(unit(x, 384, 1));
  const double = beside(unit(unit(x, 448, 1), 384, 3));
  return net.concat([unit(x, 320, 1), single, double, unit(x.averagePool(3, 1, { pad: 1 }), 192, 1)]);
}

export const inceptionV3: Architecture = {
  title: 'Inception-v3',
  source: 'Szegedy et al. 2015, arXiv 1512.00567',
  build(net) {
    let x = unit(net.input('image', [1, 3, 299, 299]), 32, 3, HALVED);
    x = unit(unit(x, 32, 3, { pad: 0 }), 64, 3).maxPool(3, 2);
    x = unit(unit(x, 80, 1), 192, 3, { pad: 0 }).maxPool(3, 2);
    for (const pooled of [32, 64, 64]) x = mixed35(net, x, pooled);
    x = reduce17(net, x);
    for (const width of [128, 160, 160, 192]) x = mixed17(net, x, width);
    x = mixed8(net, mixed8(net, reduce8(net, x)));
    net.output(x.globalAveragePool().flatten().linear(1000, { name: 'logits', gain: 1 }));
  },
};
