// Reports: pages about runs.

export { type ReportOptions, runReport, writeRunReport } from './report.ts';
