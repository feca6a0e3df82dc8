// Which folder may import which. `scripts/check-layers.mjs` plants one violation per rule and fails when a rule lets it pass.

const TEST = '\\.test\\.ts$';
/** Folders of packages/core in walking order are closed to the folders after them. */
const coreFolder = (folder, forbidden) => ({
  name: `core-${folder}-order`,
  comment: `In core, ${folder}/ comes before ${forbidden.join('/, ')}/ and must not know them.`,
  severity: 'error',
  from: { path: `^packages/core/src/${folder}/`, pathNot: TEST },
  to: { path: `^packages/core/src/(${forbidden.join('|')})/` },
});

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'A cycle means that two files are one, or that a third one is missing. Type-only imports count.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'not-resolvable',
      comment:
        'An import that is not found is an import that no other rule sees: also what an exports map keeps closed.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-internals',
      comment:
        'A package is used by its name, never by a path into its folders. The tests of single ops need what core keeps to itself, and an engine that core must not import.',
      severity: 'error',
      from: { path: '^((packages|apps)/[^/]+|bench|e2e|scripts)/', pathNot: '^e2e/(ops|property|support)/' },
      to: {
        path: '^(packages|apps)/[^/]+/',
        pathNot: '^$1/',
        dependencyTypes: ['local'],
        dependencyTypesNot: ['aliased-workspace'],
      },
    },
    {
      name: 'no-import-of-a-build',
      comment: 'Sources import sources; the exports map turns a package name into its build for users.',
      severity: 'error',
      from: {},
      to: { path: '^(packages|apps)/[^/]+/dist/' },
    },
    {
      name: 'no-import-of-tests',
      comment: 'A test file is an end: nothing imports it.',
      severity: 'error',
      from: {},
      to: { path: TEST },
    },
    {
      name: 'core-imports-no-package-of-ours',
      comment: 'core is the bottom.',
      severity: 'error',
      from: { path: '^packages/core/src/' },
      to: { path: '^(packages|apps)/', pathNot: '^packages/core/' },
    },
    {
      name: 'core-zoo-and-planner-run-in-a-browser',
      comment: 'core, zoo and planner do no I/O: no Node built-in.',
      severity: 'error',
      from: { path: '^packages/(core|zoo|planner)/src/', pathNot: TEST },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'core-third-party',
      comment: 'core uses the protobuf wire reader and zod, and no other package of others.',
      severity: 'error',
      from: { path: '^packages/core/src/', pathNot: TEST },
      to: { path: 'node_modules/', pathNot: 'node_modules/(@bufbuild/protobuf|zod)/' },
    },
    {
      name: 'zoo-third-party',
      comment: 'zoo uses no package of others.',
      severity: 'error',
      from: { path: '^packages/zoo/src/', pathNot: TEST },
      to: { path: 'node_modules/' },
    },
    {
      name: 'zoo-imports-core-only',
      comment: 'zoo builds on core alone.',
      severity: 'error',
      from: { path: '^packages/zoo/src/' },
      to: { path: '^(packages|apps)/', pathNot: '^packages/(zoo|core)/' },
    },
    {
      name: 'planner-imports-core-only',
      comment: 'planner makes plans from a task. It knows neither the models of the zoo nor who carries a plan out.',
      severity: 'error',
      from: { path: '^packages/planner/src/' },
      to: { path: '^(packages|apps)/', pathNot: '^packages/(planner|core)/' },
    },
    {
      name: 'rl-knows-no-planning',
      comment: 'The reinforcement learning knows no CNN and no plan: of ours only the encoder of ONNX models.',
      severity: 'error',
      from: { path: '^packages/planner/src/rl/', pathNot: TEST },
      to: { path: '^packages/planner/src/', pathNot: '^packages/planner/src/rl/' },
    },
    {
      name: 'runtime-imports-core-only',
      comment: 'runtime carries out a plan. It knows neither the planner that made it nor the model it came from.',
      severity: 'error',
      from: { path: '^packages/runtime/src/' },
      to: { path: '^(packages|apps)/', pathNot: '^packages/(runtime|core)/' },
    },
    {
      name: 'packages-do-not-import-apps',
      comment: 'apps compose packages.',
      severity: 'error',
      from: { path: '^packages/' },
      to: { path: '^apps/' },
    },
    {
      name: 'inference-engine-in-one-folder',
      comment:
        'Everything else takes an engine as a parameter. Tests of runtime, benchmarks and end-to-end tests may compare with the bare engine.',
      severity: 'error',
      from: { pathNot: ['^packages/runtime/src/engine/', '^packages/runtime/src/.*\\.test\\.ts$', '^(bench|e2e)/'] },
      to: { path: 'node_modules/onnxruntime-node/' },
    },
    {
      name: 'messaging-in-one-folder',
      comment:
        'Broker and MQTT client are the matter of the control plane; whoever else needs a message sent uses its bus.',
      severity: 'error',
      from: { pathNot: '^packages/runtime/src/controller/' },
      to: { path: 'node_modules/(aedes|mqtt)/' },
    },
    {
      name: 'certificates-in-one-folder',
      comment: 'Certificates are made and read in one place, so that one place is looked at when it matters.',
      severity: 'error',
      from: { pathNot: '^packages/runtime/src/security/' },
      to: { path: 'node_modules/(@peculiar/|reflect-metadata/)' },
    },
    {
      name: 'cli-libraries-in-the-cli',
      comment: 'Options, image files and multicast DNS are the matter of the command line.',
      severity: 'error',
      from: { pathNot: '^apps/cli/' },
      to: { path: 'node_modules/(bonjour-service|commander|sharp)/' },
    },
    coreFolder('onnx', ['graph', 'ops', 'rows', 'plan', 'cost', 'compile']),
    coreFolder('graph', ['rows', 'plan', 'cost', 'compile']),
    coreFolder('ops', ['rows', 'plan', 'cost', 'compile']),
    coreFolder('rows', ['cost', 'compile']),
    coreFolder('plan', ['cost', 'compile']),
    coreFolder('cost', ['compile']),
  ],
  options: {
    // A package's dist/ stays visible as a target, so that importing it can be forbidden; only sources are cruised.
    doNotFollow: { path: ['node_modules', '(^|/)dist/'] },
    exclude: { path: '^bench/dist/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'import', 'default', 'types'],
      extensions: ['.ts', '.mts', '.js', '.mjs', '.cjs', '.json', '.d.ts'],
    },
  },
};
