// Images out of a stage's changes: one after each step as Docker's classic builder names them, or one at the end as BuildKit does.
import { newId } from "../common/index.ts";
import { orderRunConfig, type ImageStore } from "../image/index.ts";
import type { Snapshotter } from "../snapshot/index.ts";
import type { HistoryEntry, ImageConfig, ImageRunConfig } from "../spec/index.ts";
import type { BuildCache } from "./build-cache.ts";
import type { Change } from "./create-graph.ts";
import type { HistoryCache } from "./history-cache.ts";
import type { LazyLayers } from "./lazy-layers.ts";
import { stepKey } from "./run-config.ts";
import type { Solved } from "./work-context.ts";

/** Where a stage stands after a step. Immutable. */
export interface StageImage {
  /** The image made last; "" in a stage that began FROM scratch and made none yet, and where none is made after each step. */
  readonly imageId: string;
  readonly config: ImageConfig;
  /** chainID of the top layer. */
  readonly top: string | undefined;
}

export interface ImageMakers {
  readonly images: ImageStore;
  readonly snapshots: Snapshotter;
  readonly cache: BuildCache;
  readonly layers: LazyLayers;
  readonly histories: HistoryCache;
  readonly epoch: number | undefined;
}

export interface NamedStep {
  readonly after: StageImage;
  readonly cached: boolean;
  readonly containerId: string;
}

/** Names the image after a change, or finds the one that was named when the same was done before. */
export async function nameStep(
  makers: ImageMakers,
  before: StageImage,
  { change, solved, ignoreCache }: { change: Change; solved: Solved | undefined; ignoreCache: boolean },
): Promise<NamedStep> {
  const { images, cache, snapshots } = makers;
  const top = solved ? solved.top : before.top;
  // Its image is named at once, and an image is here whole.
  await makers.layers.need(top);
  const runConfig: ImageRunConfig = { ...change.state.runConfig, Image: before.imageId };
  const command = [...change.command(solved?.sourceDigests ?? [])];
  const ran = change.container === "run" ? { Entrypoint: null } : {};
  const containerConfig: ImageRunConfig = { ...runConfig, Cmd: command, ...ran };
  const key = stepKey(before.imageId, containerConfig, `${change.surroundings} ${top ?? ""} ${makers.epoch ?? ""}`);
  const usable = !ignoreCache && (solved?.cached ?? true);
  const knownId = usable ? cache.imageOf(key) : undefined;
  const known = knownId === undefined ? undefined : images.find(knownId);
  if (known) return { after: { imageId: known.id, config: known.config, top }, cached: true, containerId: "" };
  const place = { history: before.config.history ?? [], top: before.top };
  const match = usable ? makers.histories.match(place, command.join(" ")) : undefined;
  if (match?.isLast && match.top === top) {
    const { image } = match;
    cache.recordImage(key, image.id);
    return { after: { imageId: image.id, config: image.config, top }, cached: true, containerId: "" };
  }
  const containerId = solved?.containerId || newId();
  const created = match?.entry.created ?? timeText(makers, solved ? solved.createdMs : Date.now());
  const config = classicConfig(before.config, {
    runConfig,
    containerConfig,
    containerId: change.container === "none" ? undefined : makers.epoch === undefined ? containerId : undefined,
    author: change.state.author,
    created,
    diffId: top === before.top || top === undefined ? undefined : snapshots.layer(top)?.diffId,
  });
  const image = await images.create(Buffer.from(JSON.stringify(config)), {
    layers: layersOf(snapshots, top),
    ...(before.imageId === "" ? {} : { parent: before.imageId }),
    lasting: false,
  });
  cache.recordImage(key, image.id);
  const cached = solved?.cached === true || match !== undefined;
  return { after: { imageId: image.id, config: image.config, top }, cached, containerId };
}

/** chainIDs, lowest first. */
export function layersOf(snapshots: Snapshotter, top: string | undefined): string[] {
  return top === undefined
    ? []
    : snapshots
        .chain(top)
        .map(({ chainId }) => chainId)
        .toReversed();
}

/** RFC 3339 as Go writes it: no fraction where it is none. */
export function timeText({ epoch }: Pick<ImageMakers, "epoch">, ms: number): string {
  return epoch === undefined ? new Date(ms).toISOString() : new Date(epoch * 1000).toISOString().replace(".000Z", "Z");
}

interface ClassicChild {
  readonly runConfig: ImageRunConfig;
  readonly containerConfig: ImageRunConfig;
  readonly containerId: string | undefined;
  readonly author: string;
  readonly created: string;
  readonly diffId: string | undefined;
}

/** The config of the child image, members in Docker's order (its JSON is sorted by name). */
function classicConfig(parent: ImageConfig, child: ClassicChild): ImageConfig {
  const { author, created, containerId, containerConfig, diffId } = child;
  const entry: HistoryEntry = {
    created,
    ...(author === "" ? {} : { author }),
    created_by: (containerConfig.Cmd ?? []).join(" "),
    ...(diffId === undefined ? { empty_layer: true } : {}),
  };
  const diffIds = parent.rootfs.diff_ids;
  return {
    architecture: parent.architecture,
    ...(author === "" ? {} : { author }),
    config: orderRunConfig(child.runConfig),
    ...(containerId === undefined ? {} : { container: containerId }),
    container_config: orderRunConfig(containerConfig),
    created,
    history: [...(parent.history ?? []), entry],
    os: parent.os,
    rootfs: { type: "layers", diff_ids: diffId === undefined ? diffIds : [...diffIds, diffId] },
    ...(parent.variant === undefined ? {} : { variant: parent.variant }),
  };
}

/** What BuildKit's history says of who wrote it. */
const historyComment = "buildkit.dockerfile.v0";

/** The config after one more change as BuildKit writes it: the container that made it is told nowhere. */
export function addBuildkitHistory(
  before: ImageConfig,
  {
    change,
    solved,
    makers,
    top,
  }: { change: Change; solved: Solved | undefined; makers: ImageMakers; top: string | undefined },
): ImageConfig {
  // An empty entry has the time of the layer below it, so that the same build gives the same bytes.
  const last = before.history?.at(-1)?.created ?? before.created;
  const created = solved ? timeText(makers, solved.createdMs) : (last ?? timeText(makers, Date.now()));
  const { author } = change.state;
  const isLayer = solved !== undefined && top !== undefined;
  const diffIds = isLayer ? makers.layers.chain(top).map(({ diffId }) => diffId) : undefined;
  const grown = diffIds !== undefined && diffIds.length > before.rootfs.diff_ids.length;
  const entry: HistoryEntry = {
    created,
    ...(author === "" ? {} : { author }),
    created_by: change.createdBy,
    comment: historyComment,
    ...(grown ? {} : { empty_layer: true }),
  };
  return {
    architecture: before.architecture,
    ...(author === "" ? {} : { author }),
    config: ociRunConfig(change.state.runConfig),
    created,
    history: [...(before.history ?? []), entry],
    os: before.os,
    rootfs: { type: "layers", diff_ids: diffIds ?? before.rootfs.diff_ids },
    ...(before.variant === undefined ? {} : { variant: before.variant }),
  };
}

/** Only what is set, in the order of the OCI image spec's struct, then Docker's own members. */
function ociRunConfig(config: ImageRunConfig): ImageRunConfig {
  const { Healthcheck, OnBuild, Shell, ArgsEscaped, StopSignal, WorkingDir, User } = orderRunConfig(config);
  const { Env, Entrypoint, Cmd, Volumes, Labels, ExposedPorts } = orderRunConfig(config);
  const members = { User, ExposedPorts, Env, Entrypoint, Cmd, Volumes, WorkingDir, Labels, StopSignal, ArgsEscaped };
  const all = Object.entries({ ...members, Healthcheck, OnBuild, Shell });
  const isSet = (value: unknown): boolean =>
    value !== undefined &&
    value !== null &&
    value !== "" &&
    value !== false &&
    !(Array.isArray(value) && value.length === 0);
  return Object.fromEntries(all.filter(([, value]) => isSet(value))) as ImageRunConfig;
}
