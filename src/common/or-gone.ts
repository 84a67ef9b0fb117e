/**
 * What a promise gives, or "gone" when the signal is aborted first. Promise.race with a promise that lives as long as a connection
 * would keep every value that it was ever raced with.
 */
export function orGone<Value>(awaited: Promise<Value>, signal: AbortSignal): Promise<Value | "gone"> {
  if (signal.aborted) {
    awaited.catch(() => {});
    return Promise.resolve("gone");
  }
  return new Promise((resolve, reject) => {
    const leave = (): void => resolve("gone");
    signal.addEventListener("abort", leave, { once: true });
    const settle = (then: () => void): void => {
      signal.removeEventListener("abort", leave);
      then();
    };
    awaited.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error as Error)),
    );
  });
}
