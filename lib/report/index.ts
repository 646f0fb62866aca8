// Reports: pages about runs.

export { defaultWatchPort, type LivePage, type WatchOptions, watchRuns } from './live/server.ts';
export { type ReportOptions, runReport, writeRunReport } from './report.ts';
