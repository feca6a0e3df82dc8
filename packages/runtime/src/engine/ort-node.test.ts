import { describeEngineCompliance } from './compliance.js';
import { createOrtEngine } from './ort-node.js';

describeEngineCompliance('onnxruntime-node on the calling thread', createOrtEngine);
