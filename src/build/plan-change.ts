// One instruction of a stage: what it does to the files is an operation, what it does to the config is worked out here.
import { EngineError } from "../common/index.ts";
import type { ConfigState } from "./config-state.ts";
import { copyActions, remoteSource } from "./copy-operation.ts";
import {
  buildContext,
  sourceOperation,
  variablesOf,
  type Change,
  type Planning,
  type StageAt,
} from "./create-graph.ts";
import { expandInstruction } from "./expand-instruction.ts";
import { flagValue, type CopyInstruction, type RunInstruction } from "./instruction.ts";
import { applyMetadata, resolveWorkingDirectory } from "./metadata-steps.ts";
import type { ExecMount, GraphNode, OperationId } from "./operation.ts";
import { parseExposedPorts } from "./ports.ts";
import { shellOf } from "./run-config.ts";
import { mountTarget, runMounts, type RunMount } from "./run-mounts.ts";
import { networkOf, runCommand } from "./run-operation.ts";
import { digestOfSources } from "./source-tree.ts";
import type { SourcedStage, StepInstruction } from "./stage-sources.ts";

/** Where an instruction stands. */
interface Place {
  readonly stage: SourcedStage;
  readonly at: StageAt;
  /** Of its operation, for people. */
  readonly name: string;
  readonly ignoreCache: boolean;
}

/** Throws an Error or an EngineError with Docker's words; the caller adds file and line. */
export function planChange(planning: Planning, written: StepInstruction, place: Place): Change {
  const { escape } = planning.input.dockerfile.directives;
  const { state } = place.at;
  const variables = variablesOf(state);
  const instruction = expandInstruction(written, variables, { escape });
  switch (instruction.kind) {
    case "COPY":
    case "ADD":
      return planCopy(planning, instruction, place);
    case "RUN":
      return planRun(planning, instruction, place);
    case "WORKDIR":
      return planWorkdir(planning, instruction, place);
    default: {
      const change = applyMetadata(instruction, state, { variables, escape });
      const command = [...shellOf(change.state.runConfig), "#(nop) ", change.comment];
      return {
        instruction: written,
        operation: undefined,
        state: change.state,
        command: () => command,
        createdBy: instruction.kind === "EXPOSE" ? exposeComment(change.comment) : change.comment,
        container: "made",
        surroundings: "",
        ...(change.note === undefined ? {} : { note: change.note }),
      };
    }
  }
}

function planWorkdir(
  { graph }: Planning,
  instruction: Extract<StepInstruction, { kind: "WORKDIR" }>,
  { at, ...about }: Place,
): Change {
  const path = resolveWorkingDirectory(at.state.runConfig.WorkingDir, instruction.value);
  const state: ConfigState = { ...at.state, runConfig: { ...at.state.runConfig, WorkingDir: path } };
  const operation = graph.add(
    { kind: "file", inputs: [at.operation], actions: [{ type: "makeDirectory", path }] },
    aboutOf(instruction, about),
  );
  const command = [...shellOf(state.runConfig), `#(nop) WORKDIR ${path}`];
  const createdBy = `WORKDIR ${path}`;
  return { instruction, operation, state, command: () => command, createdBy, container: "made", surroundings: "" };
}

function aboutOf(
  instruction: StepInstruction,
  { name, ignoreCache }: Pick<Place, "name" | "ignoreCache">,
): Pick<GraphNode, "name" | "ignoreCache"> & Required<Pick<GraphNode, "place">> {
  const { source, position, endLine } = instruction;
  return { name, ignoreCache, place: { instruction: source, position, endLine } };
}

function planCopy(planning: Planning, instruction: CopyInstruction, place: Place): Change {
  const { graph } = planning;
  const { at, stage } = place;
  const from = instruction.kind === "COPY" ? flagValue(instruction, "from") : undefined;
  const link = flagValue(instruction, "link") === "true";
  const inputs: (OperationId | undefined)[] = [link ? undefined : at.operation];
  const indexOf = (id: OperationId | undefined): number => {
    const known = id === undefined ? -1 : inputs.indexOf(id, 1);
    return known > 0 ? known : inputs.push(id) - 1;
  };
  let local: number | undefined;
  const inputOf: Parameters<typeof copyActions>[1]["inputOf"] = (word) => {
    const remote = from === undefined ? remoteSource(word, instruction) : undefined;
    if (remote) {
      const about = { name: `${instruction.kind} ${word}`, ignoreCache: false };
      return { input: indexOf(graph.add(remote, about)), remote };
    }
    local ??= indexOf(
      from === undefined ? buildContext(planning) : sourceOperation(planning, { from, instruction, stage }),
    );
    return { input: local, remote };
  };
  const workingDirectory = at.state.runConfig.WorkingDir;
  const actions = copyActions(instruction, { workingDirectory, inputOf, isContext: from === undefined });
  const about = aboutOf(instruction, place);
  // Names of owners are looked up in the image, of which a layer without regard to it knows nothing.
  const nameGiven = actions.some((action) => "owner" in action && /[^\d:]/.test(action.owner ?? ""));
  if (link && nameGiven) {
    const owner = flagValue(instruction, "chown") ?? "";
    throw new EngineError("invalidArgument", `--link with --chown=${owner}: owners of a linked layer must be numbers`);
  }
  const files = graph.add({ kind: "file", inputs, actions }, about);
  const linked = link && at.operation !== undefined;
  const operation = linked ? graph.add({ kind: "merge", inputs: [at.operation, files] }, about) : files;
  const { runConfig } = at.state;
  return {
    instruction,
    operation,
    state: at.state,
    command: (digests) => [...shellOf(runConfig), `#(nop) ${copyComment(instruction, digests)}`],
    createdBy: `${withoutFlags(instruction)} # buildkit`,
    container: "none",
    surroundings: "",
  };
}

function copyComment(instruction: CopyInstruction, digests: readonly string[]): string {
  const shown = new Set(["chown", "chmod", "unpack", "link", "parents", "exclude", "checksum", "keep-git-dir"]);
  const given = instruction.flags.filter(({ name }) => shown.has(name));
  const flags = given.map(({ name, value }) => `--${name}=${value} `).join("");
  return `${instruction.kind} ${flags}${digestOfSources(digests)} in ${instruction.destination} `;
}

/** As BuildKit's history has it, which tells of some flags only. */
function withoutFlags(instruction: CopyInstruction): string {
  const { kind, sources, files, destination } = instruction;
  const flags = ["parents", "chown", "chmod"].flatMap((name) => {
    const value = flagValue(instruction, name) ?? "";
    if (name === "parents") return value === "true" ? ["--parents"] : [];
    return value === "" ? [] : [`--${name}=${value}`];
  });
  return [kind, ...flags, ...sources, ...files.map(({ name }) => `<<${name}`), destination].join(" ");
}

/** BuildKit prints Go's map of the ports. */
function exposeComment(comment: string): string {
  const ports = parseExposedPorts(comment.split(" ").slice(1)).toSorted();
  return `EXPOSE map[${ports.map((port) => `${port}:{}`).join(" ")}]`;
}

function planRun(planning: Planning, instruction: RunInstruction, place: Place): Change {
  const { graph, input } = planning;
  const { at, stage } = place;
  const { runConfig } = at.state;
  const run = runCommand(instruction, at.state);
  const about = aboutOf(instruction, place);
  const inputs: (OperationId | undefined)[] = [at.operation];
  const indexOf = (id: OperationId | undefined): number | undefined =>
    id === undefined ? undefined : inputs.push(id) - 1;
  const workingDirectory = runConfig.WorkingDir || "/";
  const { escape } = input.dockerfile.directives;
  const mounts: ExecMount[] = runMounts(instruction, variablesOf(at.state), { escape }).map((mount: RunMount) => {
    if (mount.type === "secret" && mount.target === undefined) return mount;
    const placed = { ...mount, target: mountTarget(mount.target ?? "", workingDirectory) };
    if (placed.type !== "bind" && placed.type !== "cache") return placed;
    const { from } = placed;
    if (placed.type === "cache" && from === undefined) return { ...placed, input: undefined };
    const source =
      from === undefined ? buildContext(planning) : sourceOperation(planning, { from, instruction, stage });
    return { ...placed, input: indexOf(source) };
  });
  if (run.script) {
    const { name, content } = run.script;
    const action = { type: "makeFile" as const, destination: "/", name, content, owner: undefined, mode: "755" };
    const script = graph.add(
      { kind: "file", inputs: [undefined], actions: [action] },
      { ...about, ignoreCache: false },
    );
    mounts.push({ type: "bind", input: indexOf(script), target: "/dev/pipes", source: "/", readOnly: true });
  }
  const network = networkOf(instruction, input.options.networkMode);
  const security = flagValue(instruction, "security") === "insecure" ? "insecure" : "sandbox";
  requireEntitled(planning, { network: flagValue(instruction, "network"), security });
  const operation = graph.add(
    {
      kind: "exec",
      inputs,
      command: run.command,
      environment: run.environment,
      quietEnvironment: run.quietEnvironment,
      workingDirectory,
      user: runConfig.User ?? "",
      network,
      security,
      ...(stage.platform === undefined ? {} : { platform: stage.platform }),
      mounts,
      hosts: input.options.addHosts,
    },
    about,
  );
  const said = JSON.stringify([network === input.options.networkMode ? "" : network, security, mounts]);
  const surroundings = said === '["","sandbox",[]]' ? "" : said;
  const createdBy = `RUN ${run.saved.join(" ")} # buildkit`;
  return {
    instruction,
    operation,
    state: at.state,
    command: () => run.saved,
    createdBy,
    container: "run",
    surroundings,
  };
}

function requireEntitled(
  { input }: Planning,
  { network, security }: { network: string | undefined; security: "sandbox" | "insecure" },
): void {
  const refuse = (name: string): never => {
    throw new EngineError(
      "permissionDenied",
      `${name} is not allowed: the build must be given it with --allow ${name}`,
    );
  };
  if (security === "insecure" && !input.entitlements.includes("security.insecure")) refuse("security.insecure");
  if (network === "host" && !input.entitlements.includes("network.host")) refuse("network.host");
}
