// Tests that pass, fail, end their process and do not end, for test/bench/gpu.test.ts; no test file of its own.

describe('fine', () => {
  it('passes', () => undefined);
  it('is skipped', function () {
    this.skip();
  });
});

describe('wrong', () => {
  it('fails', () => {
    throw new Error(`on purpose, on ${process.env.DEVICES}`);
  });
});

describe('deadly', () => {
  it('ends the process', () => process.exit(9));
});

describe('endless', () => {
  it('waits', function () {
    this.timeout(0);
    return new Promise(() => setInterval(() => undefined, 1000));
  });
});
