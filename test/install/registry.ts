// A registry of our packed packages, as npm asks it: what it does not have, it sends on to the registry that npm uses.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';

export interface Registry {
  readonly url: string;
  close(): Promise<void>;
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly [field: string]: unknown;
}

const hash = (algorithm: 'sha1' | 'sha512', encoding: 'hex' | 'base64', bytes: Buffer): string =>
  createHash(algorithm).update(bytes).digest(encoding);

function manifestOf(tarball: string): Manifest {
  const text = execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' });
  return JSON.parse(text) as Manifest;
}

/** Serves tarballs on a port of this machine. */
export async function serveRegistry(tarballs: readonly string[], upstream: string): Promise<Registry> {
  const answers = new Map<string, { type: string; body: Buffer }>();
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? '/', 'http://localhost').pathname);
    const answer = answers.get(path);
    if (answer !== undefined) response.writeHead(200, { 'content-type': answer.type }).end(answer.body);
    else response.writeHead(302, { location: new URL(`.${request.url ?? ''}`, upstream).href }).end();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  for (const tarball of tarballs) {
    const body = readFileSync(tarball);
    const { name, version, ...fields } = manifestOf(tarball);
    const path = `/tarballs/${basename(tarball)}`;
    answers.set(path, { type: 'application/octet-stream', body });
    const dist = {
      tarball: url + path,
      shasum: hash('sha1', 'hex', body),
      integrity: `sha512-${hash('sha512', 'base64', body)}`,
    };
    const versions = { [version]: { name, version, ...fields, dist } };
    const document = { name, 'dist-tags': { latest: version }, versions };
    answers.set(`/${name}`, { type: 'application/json', body: Buffer.from(JSON.stringify(document)) });
  }
  return { url, close: () => new Promise((done) => server.close(() => done())) };
}
