import type * as archive from "../../archive/index.ts";
import type * as kernel from "../../kernel/index.ts";
import type * as snapshot from "../../snapshot/index.ts";

export type { TarEntry } from "../../archive/index.ts";

/** What a client does on its own machine besides talking: packing and unpacking files, and its terminal. */
export interface LocalMachine {
  readonly extractTree: typeof archive.extractTree;
  readonly packEntries: typeof archive.packEntries;
  readonly packTree: typeof archive.packTree;
  readonly readTar: typeof archive.readTar;
  readonly tarHeader: typeof archive.tarHeader;
  readonly makeTerminalRaw: typeof kernel.makeTerminalRaw;
  readonly restoreTerminal: typeof kernel.restoreTerminal;
}

/** Loaded on first use: most commands need none of it, and start faster without. */
export async function localMachine(): Promise<LocalMachine> {
  const [files, system] = await Promise.all([import("../../archive/index.ts"), import("../../kernel/index.ts")]);
  return { ...files, ...system };
}

/** Unions of folders, which no engine is needed for. */
export type LocalUnions = Pick<typeof snapshot, "listUnions" | "mountUnion" | "unionAt" | "unmountUnion">;

export function localUnions(): Promise<LocalUnions> {
  return import("../../snapshot/index.ts");
}
