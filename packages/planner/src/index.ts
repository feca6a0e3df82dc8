/** The public face of @distredge/planner. */
export type { Planned, Planner, PlannerOptions, PlannerProgress } from './planner.js';
