import { defineConfig } from 'vitest/config';

// Unit tests run on the TypeScript sources of every package (condition "source"); end-to-end tests run on the build, as a user would.
const source = ['source', 'module', 'node', 'development|production'];

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // For tests that use onnxruntime by themselves; the product sees to it in engine/no-telemetry.ts.
    env: { ORT_DISABLE_TELEMETRY: '1' },
    projects: [
      {
        extends: true,
        resolve: { conditions: source },
        ssr: { resolve: { conditions: source, externalConditions: ['source', 'node'] } },
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'apps/*/src/**/*.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        // They start processes of their own, and wait a good deal: two files at a time, after the unit tests.
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
