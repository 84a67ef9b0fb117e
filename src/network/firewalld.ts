// firewalld owns its table, and newer ones let nobody else write there: a bridge is let through by putting it into a zone.
import { EngineError } from "../common/index.ts";

/** The table that firewalld makes, family inet. */
export const firewalldTable = "firewalld";

/** firewalld's own zone that accepts everything. */
const zone = "trusted";

/** Puts the bridge into firewalld's zone `trusted`, until the next reload or `leave`. */
export class FirewalldZone {
  readonly #bridge: string;

  constructor(options: { bridge: string }) {
    this.#bridge = options.bridge;
  }

  /** Whether firewalld runs here and can be asked. */
  async isRunning(): Promise<boolean> {
    return Bun.which("firewall-cmd") !== null && (await ask(["--state"])).status === 0;
  }

  /** Where the bridge is let through, for people. Throws with firewalld's words. */
  async enter(): Promise<string> {
    const query = await ask([`--zone=${zone}`, `--query-interface=${this.#bridge}`]);
    if (query.status !== 0) {
      const change = await ask([`--zone=${zone}`, `--change-interface=${this.#bridge}`]);
      if (change.status !== 0) {
        throw new EngineError(
          "internal",
          `Cannot put "${this.#bridge}" into firewalld's zone ${zone}: ${change.words}`,
        );
      }
    }
    return `firewalld zone ${zone}`;
  }

  async leave(): Promise<void> {
    if (await this.isRunning()) await ask([`--zone=${zone}`, `--remove-interface=${this.#bridge}`]);
  }
}

async function ask(options: readonly string[]): Promise<{ status: number; words: string }> {
  const child = Bun.spawn(["firewall-cmd", ...options], { stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const [status, words] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  return { status, words: words.trim() };
}
