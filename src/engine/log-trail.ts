import { statSync } from "node:fs";
import type { LogPosition, MonitorConnection } from "../runtime/index.ts";

/**
 * Knows where a log ends once the monitor, which alone counts its rotations, is gone: it remembers which file was current at a count
 * that the monitor told, and finds that file again by its inode.
 */
export class LogTrail {
  #anchor: { inode: number; generation: number } | undefined;

  constructor(readonly path: string) {}

  /** To be called while the monitor lives, on a connection without live output, which would hold up its answer. */
  async anchor(connection: MonitorConnection): Promise<void> {
    for (;;) {
      const before = this.#about(0)?.ino;
      const { generation } = await connection.logSync();
      if (before === undefined || this.#about(0)?.ino !== before) continue;
      this.#anchor = { inode: before, generation };
      return;
    }
  }

  /** The position after the last byte; undefined when the log was never anchored or has been deleted. */
  end(): LogPosition | undefined {
    const current = this.#about(0);
    if (!this.#anchor || !current) return undefined;
    let age = 0;
    for (let file = current; file.ino !== this.#anchor.inode; age++) {
      const older = this.#about(age + 1);
      // Rotated away altogether: all that is left is younger.
      if (!older) break;
      file = older;
    }
    return { generation: this.#anchor.generation + age, offset: current.size };
  }

  #about(age: number): { ino: number; size: number } | undefined {
    return statSync(age === 0 ? this.path : `${this.path}.${age}`, { throwIfNoEntry: false });
  }
}
