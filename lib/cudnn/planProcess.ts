// A process that plans for one described device; started by planner.ts. Ends with its parent.

import { loadAddon } from '../backend/load.ts';
import type { PlanAnswer, PlanQuestion } from './planner.ts';

function answer(reply: PlanAnswer): void {
  process.send?.(reply);
}

process.on('disconnect', () => process.exit());
process.on('message', ({ id, library, numbers, settings, texts }: PlanQuestion) => {
  loadAddon()
    .addon.cudnnPlans(library, numbers, settings, texts)
    .then(
      (text) => answer({ id, text }),
      (error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        const code = error instanceof Error && 'code' in error ? String(error.code) : 'INTERNAL';
        answer({ id, failure: { code, message } });
      },
    );
});
