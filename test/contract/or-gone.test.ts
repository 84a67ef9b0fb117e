import { expect, test } from "bun:test";
import { orGone } from "../../src/common/index.ts";

const mebibyte = 1024 * 1024;

test("what was waited for beside a signal is not kept while the signal lives", async () => {
  const { signal } = new AbortController();
  Bun.gc(true);
  const before = process.memoryUsage().external;
  for (let piece = 0; piece < 300; piece++) {
    const value = await orGone(Promise.resolve(Buffer.alloc(mebibyte, piece)), signal);
    expect(value).toHaveLength(mebibyte);
  }
  Bun.gc(true);
  expect(process.memoryUsage().external - before).toBeLessThan(30 * mebibyte);
});

test("a signal ends the waiting, before and meanwhile; what fails, fails", async () => {
  const left = new AbortController();
  const waiting = orGone(new Promise(() => {}), left.signal);
  left.abort();
  expect(await waiting).toBe("gone");
  expect(await orGone(Promise.reject(new Error("nobody asks")), left.signal)).toBe("gone");
  await expect(orGone(Promise.reject(new Error("disk")), new AbortController().signal)).rejects.toThrow("disk");
});
