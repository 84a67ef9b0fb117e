import { orderRunConfig, type ImageRecord, type ImageStore, type LayerHold } from "../image/index.ts";
import type { Layer, Snapshotter } from "../snapshot/index.ts";
import type { HistoryEntry, ImageConfig, ImageRunConfig } from "../spec/index.ts";
import type { BuildArguments } from "./build-arguments.ts";
import type { BuildCache } from "./build-cache.ts";
import { initialRunConfig, stepKey } from "./run-config.ts";

/** Where a stage stands after a step. Immutable: a step gives the next. */
export interface StageState {
  /** The image made last; "" in a stage that began FROM scratch and made none yet. */
  readonly imageId: string;
  readonly imageConfig: ImageConfig;
  /** chainIDs, lowest first. */
  readonly layers: readonly string[];
  /** What the next image will say of how to run it. */
  readonly runConfig: ImageRunConfig;
  /** Whether this stage has a CMD of its own. */
  readonly commandSet: boolean;
  readonly author: string;
  readonly arguments: BuildArguments;
}

export interface ImageServices {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly cache: BuildCache;
  readonly hold: LayerHold;
}

const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
export const hostArchitecture = architectures[process.arch] ?? process.arch;

/** A stage that begins with an image, or with nothing. */
export function beginStage(base: ImageRecord | undefined, buildArguments: BuildArguments): StageState {
  const imageConfig: ImageConfig = base?.config ?? {
    architecture: hostArchitecture,
    os: "linux",
    rootfs: { type: "layers", diff_ids: [] },
  };
  return {
    imageId: base?.id ?? "",
    imageConfig,
    layers: base?.layers.map((layer) => layer.chainId) ?? [],
    runConfig: { ...initialRunConfig(imageConfig.config), Image: base?.id ?? "" },
    commandSet: false,
    author: "",
    arguments: buildArguments.forStage(),
  };
}

/** The image that the same step made before; undefined when there is none or it is gone. */
export function findCached(
  services: ImageServices,
  state: StageState,
  step: Pick<StepResult, "containerConfig" | "surroundings">,
): ImageRecord | undefined {
  const imageId = services.cache.imageOf(stepKey(state.imageId, step.containerConfig, step.surroundings));
  return imageId === undefined ? undefined : services.images.find(imageId);
}

/** The state after a step whose image exists. */
export function withImage(services: ImageServices, state: StageState, image: ImageRecord): StageState {
  services.hold.add(image.chainId);
  return {
    ...state,
    imageId: image.id,
    imageConfig: image.config,
    layers: image.layers.map((layer) => layer.chainId),
    runConfig: { ...state.runConfig, Image: image.id },
  };
}

export interface StepResult {
  /** The config of the step's container, whose command tells what the step did. */
  readonly containerConfig: ImageRunConfig;
  /** As in `stepKey`. */
  readonly surroundings?: string;
  readonly containerId?: string;
  /** Undefined when no file changed. */
  readonly layer?: Layer | undefined;
}

/** Makes the image of a step that was carried out, and remembers it. */
export async function commitStep(services: ImageServices, state: StageState, result: StepResult): Promise<StageState> {
  services.hold.add(result.layer?.chainId);
  const config = childConfig(state, result);
  const layers = result.layer ? [...state.layers, result.layer.chainId] : state.layers;
  const image = await services.images.create(Buffer.from(JSON.stringify(config)), {
    layers,
    ...(state.imageId === "" ? {} : { parent: state.imageId }),
  });
  services.cache.record(stepKey(state.imageId, result.containerConfig, result.surroundings), image.id);
  return withImage(services, state, image);
}

/** The config of the child image, members in Docker's order (its JSON is sorted by name). */
function childConfig(state: StageState, { containerConfig, containerId, layer }: StepResult): ImageConfig {
  const { imageConfig, author } = state;
  const created = new Date().toISOString();
  const entry: HistoryEntry = {
    created,
    ...(author === "" ? {} : { author }),
    created_by: (containerConfig.Cmd ?? []).join(" "),
    ...(layer ? {} : { empty_layer: true }),
  };
  const diffIds = imageConfig.rootfs.diff_ids;
  return {
    architecture: imageConfig.architecture,
    ...(author === "" ? {} : { author }),
    config: orderRunConfig(state.runConfig),
    ...(containerId === undefined ? {} : { container: containerId }),
    container_config: orderRunConfig(containerConfig),
    created,
    history: [...(imageConfig.history ?? []), entry],
    os: imageConfig.os,
    rootfs: { type: "layers", diff_ids: layer ? [...diffIds, layer.diffId] : diffIds },
    ...(imageConfig.variant === undefined ? {} : { variant: imageConfig.variant }),
  };
}

/** The top layer of a state's file system. */
export function topLayer(state: StageState): string | undefined {
  return state.layers.at(-1);
}
