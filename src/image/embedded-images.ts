import { realpathSync, statSync } from "node:fs";
import { EngineError } from "../common/index.ts";
import { addTerminals } from "./base-files.ts";
import { basePrograms } from "./base-programs.ts";
import { collectPrograms, createHostImage } from "./from-host.ts";
import { HostFiles } from "./host-files.ts";
import { findProgram } from "./host-programs.ts";
import { findImage } from "./image-lookup.ts";
import type { ImageRecord, ImageServices } from "./image-record.ts";

const baseReference = "vitrine/base:latest";
const bunReference = "vitrine/bun:latest";

/** The images that need no registry: made of the host's programs when first asked for. Two who ask at once share one making. */
export class EmbeddedImages {
  readonly #services: ImageServices;
  readonly #making = new Map<string, Promise<ImageRecord>>();

  constructor(services: ImageServices) {
    this.#services = services;
  }

  /** Makes `vitrine/base` or `vitrine/bun`, unless it exists. False when the name is neither. */
  async ensure(name: string): Promise<boolean> {
    const reference = `${name}:latest`;
    if (reference !== baseReference && reference !== bunReference) return false;
    await this.#get(reference);
    return true;
  }

  async #get(reference: typeof baseReference | typeof bunReference): Promise<ImageRecord> {
    const known = findImage(this.#services.table, reference);
    if (known) return known;
    let making = this.#making.get(reference);
    if (!making) {
      making = reference === baseReference ? this.#makeBase() : this.#makeBun();
      this.#making.set(reference, making);
    }
    try {
      return await making;
    } finally {
      this.#making.delete(reference);
    }
  }

  async #makeBase(): Promise<ImageRecord> {
    const programs = basePrograms.filter((program) => findProgram(program) !== undefined);
    if (!programs.includes("sh")) throw new EngineError("notFound", 'The program "sh" is not on this host');
    const bun = this.#bunPath();
    // Bun's libraries are in the base, so that vitrine/bun is the base and one file.
    const files = collectPrograms(programs, bun === undefined ? [] : [bun]);
    addTerminals(files);
    return createHostImage(this.#services, { reference: baseReference, files, instruction: "programs of the host" });
  }

  async #makeBun(): Promise<ImageRecord> {
    const bun = this.#bunPath();
    if (bun === undefined) {
      throw new EngineError(
        "notFound",
        `The Bun executable "${this.#services.bunPath}" for vitrine/bun does not exist`,
      );
    }
    const base = await this.#get(baseReference);
    const files = new HostFiles();
    files.addAs("/usr/local/bin/bun", { copyOf: bun, mode: 0o755 });
    const instruction = "COPY bun /usr/local/bin/bun";
    return createHostImage(this.#services, { reference: bunReference, files, instruction, base });
  }

  /** Without links; undefined when there is no such file. */
  #bunPath(): string | undefined {
    const path = this.#services.bunPath;
    return statSync(path, { throwIfNoEntry: false })?.isFile() ? realpathSync(path) : undefined;
  }
}
