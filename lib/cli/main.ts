// The command line's entry: one parser for all commands, and one place where errors become a line and an exit code.

import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { benchCommand } from './bench.ts';
import { convertCommand } from './convert.ts';
import { doctorCommand } from './doctor.ts';
import { evalCommand } from './eval.ts';
import { exitCodeOf, messageOf } from './failure.ts';
import { infoCommand } from './info.ts';
import { resultsBegin, say, watchPipes } from './output.ts';
import { packCommand } from './pack.ts';
import { predictCommand } from './predict.ts';
import { reportCommand } from './report.ts';
import { trainCommand } from './train.ts';
import { watchCommand } from './watch.ts';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

/** All commands, each refusing what it does not know in one line. */
function program(): Command {
  const root = new Command('depthwise')
    .description(
      'Train and use Xception and Inception V3: figures, training, evaluation, prediction, conversion',
    )
    .version(version, '-V, --version', 'print the version')
    .showSuggestionAfterError(false)
    .configureOutput({ writeErr: () => undefined }) // errors are said by `main`
    .exitOverride();
  for (const command of [
    infoCommand(),
    doctorCommand(),
    trainCommand(),
    evalCommand(),
    predictCommand(),
    convertCommand(),
    packCommand(),
    benchCommand(),
    reportCommand(),
    watchCommand(),
  ]) {
    command.copyInheritedSettings(root);
    root.addCommand(command);
  }
  return root;
}

/** What a command accepts, for the line about something that it does not. */
function accepted(root: Command, error: unknown, argv: readonly string[]): string {
  if (!(error instanceof CommanderError) || error.exitCode === 0) return '';
  const names = root.commands.map((command) => command.name());
  const command = root.commands.find((candidate) => candidate.name() === argv[0]);
  if (command === undefined) return `; expected a command: ${names.join(', ')}`;
  if (error.code !== 'commander.unknownOption') return '';
  return `; ${command.name()} accepts ${command.options.map(({ long }) => long).join(', ')}`;
}

/** Runs the command line and gives the exit code. Never throws. */
export async function main(argv: readonly string[]): Promise<number> {
  watchPipes();
  const root = program();
  const debug = process.env.DEPTHWISE_DEBUG === '1';
  try {
    if (argv.length === 0) root.error('no command', { code: 'depthwise.noCommand', exitCode: 2 });
    await root.parseAsync(argv, { from: 'user' });
    resultsBegin(); // of commands whose results are files
    return 0;
  } catch (error) {
    const message = messageOf(error, debug);
    if (message !== undefined) say(`depthwise: ${message}${accepted(root, error, argv)}`);
    return exitCodeOf(error);
  } finally {
    const { closeDevices } = await import('../index.ts');
    closeDevices();
  }
}
