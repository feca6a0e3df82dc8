/** The public face of @distredge/core: model bytes in, plan in, program out; no I/O anywhere. */

export {
  type DeviceInput,
  type DeviceModel,
  type DeviceProgram,
  type DeviceStep,
  deviceProgram,
  parseDeviceProgram,
} from './compile/device-program.js';
export { withFixedShapes } from './compile/fixed-shapes.js';
export { modelIdentity } from './compile/identity.js';
export { opModel, type PartModel, type PartPort, type PartWriter, partWriter } from './compile/part-model.js';
export {
  compile,
  type Program,
  type ProgramMessage,
  type ProgramPiece,
  type ProgramStep,
  REQUESTER,
  splitFlopShare,
} from './compile/program.js';
export { workloadOf } from './cost/build-workload.js';
export {
  CLUSTER_VERSION,
  type Cluster,
  type ClusterDevice,
  type ClusterLink,
  networkOf,
  parseCluster,
  parseScenarios,
  type ResolveCosts,
  type Scenario,
  taskOf,
} from './cost/cluster.js';
export { fromPlan, toPlan } from './cost/convert.js';
export { type CpuModel, type DeviceModelSpec, deviceModelCosts, type GpuModel } from './cost/device-model.js';
export { DEVICE_TYPES } from './cost/device-types.js';
export { type DeviceKinds, deviceKinds, sameNumbers } from './cost/kinds.js';
export {
  interpolate,
  PROFILE_VERSION,
  type Profile,
  type ProfileOp,
  type ProfileTable,
  parseProfile,
  profileCosts,
} from './cost/profile.js';
export { simulator } from './cost/simulate.js';
export { referenceSimulator } from './cost/simulate-reference.js';
export type {
  DeviceCosts,
  Network,
  NetworkLink,
  PlanLoads,
  PlanningTask,
  PlanSimulator,
  SimulatedEvent,
  SimulatedRun,
  WorkPlan,
  WorkVolume,
} from './cost/task.js';
export type {
  WorkEnd,
  WorkHead,
  WorkHeadOp,
  Workload,
  WorkOp,
  WorkRead,
  WorkShape,
  WorkTensor,
} from './cost/workload.js';
export { DistrEdgeError, type ErrorCode, type ErrorFacts } from './errors.js';
export { type AttributeValue, attributeProto, type Graph, type Node, type TensorType, typeOf } from './graph/graph.js';
export { exposeValues, resolutionOf, valuesBeforeJumps, withOutputs } from './graph/jumps.js';
export { externalLocations, type LoadOptions, loadGraph } from './graph/load.js';
export type { GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from './onnx/proto.js';
export { placeholderWeights, withoutWeights } from './onnx/skeleton.js';
export { dtypeNumber, externalProtoOf, numbers, protoOf } from './onnx/tensor-proto.js';
export { encodeModelPieces, encodeModelProto } from './onnx/wire.js';
export { type ChannelLimits, planWithChannels, withChannels } from './plan/channel-rule.js';
export {
  asRowPlan,
  isChannels,
  isGather,
  type Plan,
  type PlanChannels,
  type PlanGather,
  type PlanPart,
  type PlanVolume,
  parsePlan,
  partsOf,
  type RowPlan,
} from './plan/plan.js';
export { planByRule, type RuleOptions, type VolumeRule, weightedParts } from './plan/rule.js';
export { type Analysis, analyse, type NodeKind, type PlacedNode, rowsOf } from './rows/analysis.js';
export type { Range } from './rows/range.js';
export {
  byteLength,
  type DataType,
  DTYPE_BYTES,
  elements,
  floats,
  floatTensor,
  intTensor,
  pasteRows,
  rowRuns,
  sliceRows,
  type Tensor,
} from './tensor.js';
export { type WinogradModel, winogradModel } from './winograd/winograd.js';
