/** Work on one thing, one at a time, in the order of asking. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();
  #pending = 0;

  /** Whether nothing runs and nobody waits. */
  get isIdle(): boolean {
    return this.#pending === 0;
  }

  run<T>(work: () => Promise<T>): Promise<T> {
    this.#pending++;
    const turn = this.#last.then(work).finally(() => this.#pending--);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
