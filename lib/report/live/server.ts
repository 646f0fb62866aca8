// The server of the live page: on this machine only, for reading only, and nothing of it ends a training. It holds what the
// runs' folders say, thinned, and reads them when a page asks.

import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ArgumentError } from '../../core/errors.ts';
import { readSamples } from '../../train/live.ts';
import { plotLibrary } from '../page.ts';
import { settingsTable } from '../runSections.ts';
import { namesOf } from '../runs.ts';
import { livePage, liveScript, liveStyle } from './page.ts';
import { WatchedRun } from './watchedRun.ts';

/** Where the live page is found unless another port is named. */
export const defaultWatchPort = 6060;
/** Ports that are tried after one that is taken. */
const tries = 20;
/** Milliseconds that pages are given to see how a run ended. */
const farewell = 3000;

/** Options of {@link watchRuns}. */
export interface WatchOptions {
  /** Of 127.0.0.1; 0: any that is free. Default 6060. Where it is taken, the next one that is free. */
  readonly port?: number;
}

/** A live page that is being served. */
export interface LivePage {
  /** http://127.0.0.1:6060/ */
  readonly url: string;
  readonly port: number;
  /** Whether it is another port than the one that was asked for. */
  readonly moved: boolean;
  /** Ends the server. Pages that were looking get a moment to see how the runs ended. */
  close(): Promise<void>;
}

/**
 * Serves a page that shows runs while they go on: curves, speed, time left, images as the network sees them. What it needs
 * it reads from their folders, so it works beside a training, in its process, and after it.
 * @throws ArgumentError where no port is free
 */
export async function watchRuns(folders: readonly string[], options: WatchOptions = {}): Promise<LivePage> {
  const wanted = options.port ?? defaultWatchPort;
  const site = new Site(folders);
  const server = createServer((request, response) => {
    site.answer(request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else refuse(response, 500, 'the run cannot be read');
    });
  });
  server.maxConnections = 64;
  const port = await listen(server, wanted);
  server.on('error', () => undefined); // a page less, and nothing else
  return {
    url: `http://127.0.0.1:${port}/`,
    port,
    moved: wanted !== 0 && port !== wanted,
    close: async () => {
      await site.lastLook();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Listens at the port, or at the next one that is free. */
async function listen(server: Server, port: number): Promise<number> {
  for (let at = port; ; at += 1) {
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(at, '127.0.0.1', () => {
          server.off('error', reject);
          resolve();
        });
      });
      return (server.address() as AddressInfo).port;
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const next =
        (code === 'EADDRINUSE' || code === 'EACCES') && at > 0 && at < Math.min(port + tries, 65_535);
      if (!next) throw new ArgumentError(`live page: no port: ${message}`);
    }
  }
}

const headers = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
} as const;

function send(response: ServerResponse, type: string, body: string | Uint8Array): void {
  response.writeHead(200, { ...headers, 'Content-Type': type });
  response.end(body);
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, { ...headers, 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(`${reason}\n`);
}

/**
 * Whether a question comes from a page of this server. A foreign site can have its own name lead to 127.0.0.1, so the name
 * in the question counts (DNS rebinding); its port does not, so that a tunnel from another machine works.
 */
function isOwn({ headers: asked }: IncomingMessage): boolean {
  const name = (asked.host ?? '').replace(/:\d+$/, '').toLowerCase();
  const site = asked['sec-fetch-site'];
  const own = site === undefined || site === 'same-origin' || site === 'none';
  return ['localhost', '127.0.0.1', '[::1]'].includes(name) && own;
}

/** What is served. */
class Site {
  readonly #runs: readonly { readonly name: string; readonly run: WatchedRun }[];
  /** A page that was made by another process is loaded anew where the runs are others. */
  readonly #identity: string;
  readonly #instance = randomUUID();
  readonly #files: ReadonlyMap<string, readonly [type: string, body: string]>;
  #asked = Number.NEGATIVE_INFINITY;
  #heard: () => void = () => undefined;

  constructor(folders: readonly string[]) {
    const names = namesOf(folders);
    this.#runs = folders.map((folder, i) => ({ name: names[i] as string, run: new WatchedRun(folder) }));
    this.#identity = JSON.stringify(folders);
    const library = plotLibrary();
    this.#files = new Map([
      ['/style.css', ['text/css; charset=utf-8', `${library.style}\n${liveStyle}`]],
      ['/page.js', ['text/javascript; charset=utf-8', `${library.script}\n${liveScript}`]],
    ]);
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOwn(request)) return refuse(response, 403, 'only pages of this machine are answered');
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('Allow', 'GET, HEAD');
      return refuse(response, 405, 'there is nothing to be changed here');
    }
    const url = new URL(request.url ?? '/', 'http://localhost');
    if (url.pathname === '/') {
      return send(response, 'text/html; charset=utf-8', livePage(this.#runs.map(({ name }) => name)));
    }
    if (url.pathname === '/api/settings') return send(response, 'text/html; charset=utf-8', this.#settings());
    const file = this.#files.get(url.pathname);
    if (file !== undefined) return send(response, ...file);
    const [, index, part] =
      /^\/api\/runs\/(\d{1,4})(\/samples\.json|\/samples\.png)?$/.exec(url.pathname) ?? [];
    const found = index === undefined ? undefined : this.#runs[Number(index)];
    if (found === undefined) return refuse(response, 404, 'there is nothing here');
    if (part === undefined) return await this.#view(found.run, url.searchParams, response);
    const sheet = await readSamples(found.run.folder);
    if (sheet === undefined) return refuse(response, 404, 'no images yet');
    if (part === '/samples.png') return send(response, 'image/png', Buffer.from(sheet.png, 'base64'));
    const { png: _, ...rest } = sheet;
    send(response, 'application/json', JSON.stringify(rest));
  }

  async #view(run: WatchedRun, known: URLSearchParams, response: ServerResponse): Promise<void> {
    const number = (name: string) => {
      const value = Number(known.get(name) ?? 0);
      return Number.isSafeInteger(value) && value >= 0 ? value : 0;
    };
    const [instance, generation = ''] = (known.get('generation') ?? '').split('/');
    const view = await run.view({
      generation: instance === this.#instance ? generation : '',
      steps: number('steps'),
      epochs: number('epochs'),
    });
    const sampled = await stat(join(run.folder, 'live', 'samples.json')).catch(() => undefined);
    const body = {
      ...view,
      generation: `${this.#instance}/${view.generation}`,
      page: this.#identity,
      samples: sampled?.mtimeMs ?? null,
      now: Date.now(),
    };
    send(response, 'application/json', JSON.stringify(body));
    this.#asked = performance.now();
    response.on('finish', () => this.#heard());
  }

  #settings(): string {
    return String(settingsTable(this.#runs.map(({ name, run: { config } }) => ({ name, config }))));
  }

  /** Waits until a page that was looking has asked once more. */
  async lastLook(): Promise<void> {
    if (performance.now() - this.#asked > farewell) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, farewell);
      this.#heard = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
