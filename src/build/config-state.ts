import type { ImageConfig, ImageRunConfig } from "../spec/index.ts";
import type { BuildArguments } from "./build-arguments.ts";

/** What the instructions of a stage have said so far, but for its files. Immutable: an instruction gives the next. */
export interface ConfigState {
  /** What the next image will say of how to run it. */
  readonly runConfig: ImageRunConfig;
  /** Whether this stage has a CMD of its own. */
  readonly commandSet: boolean;
  readonly author: string;
  readonly arguments: BuildArguments;
}

/** An image that FROM or --from names, as far as a graph depends on it. */
export interface BaseImage {
  readonly reference: string;
  /** `sha256:…` of its config. */
  readonly imageId: string;
  /** chainIDs, lowest first. */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
}

const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
export const hostArchitecture = architectures[process.arch] ?? process.arch;

/** The config of nothing: what FROM scratch begins with. */
export const scratchConfig: ImageConfig = {
  architecture: hostArchitecture,
  os: "linux",
  rootfs: { type: "layers", diff_ids: [] },
};
