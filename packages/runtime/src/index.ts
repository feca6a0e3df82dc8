/** The public face of @distredge/runtime: engines, links, providers, and the requester that makes one cluster of them. */
export { type Agent, type AgentMeasure, type AgentOptions, startAgent } from './controller/agent.js';
export { addressEndpoint, type Bus, brokerEndpoint, type Endpoint, openBus } from './controller/bus.js';
export type { Controller, ControllerOptions, Inferred, PlanFunction } from './controller/contract.js';
export { startController } from './controller/controller.js';
export type { ControllerEvent, PlanReason } from './controller/events.js';
export { readDirectory, type Snapshot } from './controller/observer.js';
export { type DeviceRecord, isOnline, type Registry } from './controller/registry.js';
export { allocatorEnvironment } from './engine/allocator.js';
export type { Engine, EngineOptions } from './engine/engine.js';
export { createExitGate, type ExitGate, guardExit, throughGate, unguardExit } from './engine/exit-gate.js';
export { createOrtGraphRunner, type FloatGraphRunner } from './engine/graph-runner.js';
export { createOrtEngineFor } from './engine/ort-choice.js';
export { createOrtEngine } from './engine/ort-node.js';
export { createOrtWorkerEngine } from './engine/ort-worker.js';
export { createPacedEngine, type PacedOptions, sleepUntil } from './engine/paced.js';
export { engineName } from './engine/prepare-model.js';
export { measureSpeed } from './engine/speed.js';
export { createWholeModel, type WholeModel } from './engine/whole-model.js';
export { createWholeRunner, runWholeModel, type WholeRunner } from './engine/whole-run.js';
export { fallsBack } from './falls-back.js';
export { assertLoopback, formatAddress, isLoopback, parseAddress } from './link/address.js';
export {
  type Frame,
  FrameKind,
  type Link,
  type LinkHandlers,
  type LinkPeer,
  type Listener,
  type Transport,
} from './link/link.js';
export { createMemoryTransport } from './link/memory.js';
export { createTcpTransport } from './link/tcp.js';
export { createTlsTransport, type TlsTransportOptions } from './link/tls.js';
export { profileFolder, readCachedProfile, writeCachedProfile } from './profile/cache.js';
export { type ExchangeOptions, measureExchange } from './profile/exchange.js';
export { answerMessages, type LinkFigures, measureLink, measureLoopback } from './profile/link.js';
export { type MeasureOptions, measureProfile, modelHash } from './profile/measure.js';
export type { MeasureClock } from './profile/sampler.js';
export { MAX_IN_FLIGHT } from './protocol.js';
export { type Provider, type ProviderOptions, startProvider } from './provider.js';
export { type Cluster, type ConnectOptions, connect } from './requester.js';
export { connectResilient, type ResilientCluster, type ResilientOptions, type Share, type Turn } from './resilient.js';
export type { RunTrace } from './run-timeline.js';
export {
  type ClusterAuthority,
  createClusterAuthority,
  guardSocket,
  type Identity,
  type IssuedDevice,
  type JoinCode,
  type JoinEvent,
  type JoinOptions,
  type JoinServer,
  type JoinServerOptions,
  joinCluster,
  keepRenewed,
  loadIdentity,
  type PeerIdentity,
  type Revocations,
  type Role,
  startJoinServer,
  type TlsOptions,
  tlsOptionsFor,
} from './security/index.js';
export { type Images, type Lane, type StreamOptions, type StreamResult, streamImages } from './stream.js';
export { removeFoldersOf } from './weights/private-folder.js';
export { makeWritable, weightsFolder } from './weights/store.js';
