import type { Command } from "./command.ts";

type Load = () => Promise<{ readonly command: Command }>;

/** Where a command's module is, and what lists of commands say of it, known without loading the module. */
export interface CommandEntry {
  readonly load: Load;
  readonly summary: string;
}

const entry = (summary: string, load: Load): CommandEntry => ({ load, summary });

const attach = entry(
  "Attach local standard input, output, and error streams to a running container",
  () => import("./commands/attach.ts"),
);
const build = entry("Build an image from a Dockerfile", () => import("./commands/build.ts"));
const commit = entry("Create a new image from a container's changes", () => import("./commands/commit.ts"));
const cp = entry("Copy files/folders between a container and the local filesystem", () => import("./commands/cp.ts"));
const create = entry("Create a new container", () => import("./commands/create.ts"));
const diff = entry(
  "Inspect changes to files or directories on a container's filesystem",
  () => import("./commands/diff.ts"),
);
const events = entry("Get real time events from the server", () => import("./commands/events.ts"));
const exec = entry("Execute a command in a running container", () => import("./commands/exec.ts"));
const explain = entry(
  "Show each kernel call that starts a container, with its reason",
  () => import("./commands/explain.ts"),
);
const exportCommand = entry("Export a container's filesystem as a tar archive", () => import("./commands/export.ts"));
const fromHost = entry(
  "Make an image of programs of this machine and the libraries they need",
  () => import("./commands/from-host.ts"),
);
const history = entry("Show the history of an image", () => import("./commands/history.ts"));
const imageImport = entry(
  "Import the contents from a tarball to create a filesystem image",
  () => import("./commands/import.ts"),
);
const images = entry("List images", () => import("./commands/images.ts"));
const info = entry("Display system-wide information", () => import("./commands/info.ts"));
const inspect = entry("Return low-level information on Vitrine objects", () => import("./commands/inspect.ts"));
const kill = entry("Kill one or more running containers", () => import("./commands/kill.ts"));
const layers = entry(
  "List the layers of a container or image with their directories",
  () => import("./commands/layers.ts"),
);
const load = entry("Load an image from a tar archive or STDIN", () => import("./commands/load.ts"));
const login = entry("Authenticate to a registry", () => import("./commands/login.ts"));
const logout = entry("Log out from a registry", () => import("./commands/logout.ts"));
const logs = entry("Fetch the logs of a container", () => import("./commands/logs.ts"));
const panorama = entry(
  "Draw a container: process, namespaces, limits, layers, volumes and ports",
  () => import("./commands/panorama.ts"),
);
const pause = entry("Pause all processes within one or more containers", () => import("./commands/pause.ts"));
const port = entry("List port mappings or a specific mapping for the container", () => import("./commands/port.ts"));
const ps = entry("List containers", () => import("./commands/ps.ts"));
const search = entry("Search a registry for images", () => import("./commands/search.ts"));
const pull = entry("Download an image from a registry", () => import("./commands/pull.ts"));
const push = entry("Upload an image to a registry", () => import("./commands/push.ts"));
const rename = entry("Rename a container", () => import("./commands/rename.ts"));
const restart = entry("Restart one or more containers", () => import("./commands/restart.ts"));
const rm = entry("Remove one or more containers", () => import("./commands/rm.ts"));
const rmi = entry("Remove one or more images", () => import("./commands/rmi.ts"));
const run = entry("Create and run a new container from an image", () => import("./commands/run.ts"));
const save = entry(
  "Save one or more images to a tar archive (streamed to STDOUT by default)",
  () => import("./commands/save.ts"),
);
const start = entry("Start one or more stopped containers", () => import("./commands/start.ts"));
const stats = entry(
  "Display a live stream of container(s) resource usage statistics",
  () => import("./commands/stats.ts"),
);
const stop = entry("Stop one or more running containers", () => import("./commands/stop.ts"));
const tag = entry("Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", () => import("./commands/tag.ts"));
const top = entry("Display the running processes of a container", () => import("./commands/top.ts"));
const union = entry("Mount several folders of this machine as one", () => import("./commands/union.ts"));
const unpause = entry("Unpause all processes within one or more containers", () => import("./commands/unpause.ts"));
const update = entry("Update configuration of one or more containers", () => import("./commands/update.ts"));
const version = entry("Show the Vitrine version information", () => import("./commands/version.ts"));
const wait = entry(
  "Block until one or more containers stop, then print their exit codes",
  () => import("./commands/wait.ts"),
);
const why = entry("Tell why each step of an image's build was cached or not", () => import("./commands/why.ts"));

/** The commands that the first help text names first. */
export const commonCommands: Readonly<Record<string, CommandEntry>> = {
  run,
  exec,
  ps,
  build,
  pull,
  push,
  images,
  login,
  logout,
  search,
  version,
  info,
};

/** What only Vitrine has. */
export const glassCommands: Readonly<Record<string, CommandEntry>> = { explain, panorama, layers, union };

export const otherCommands: Readonly<Record<string, CommandEntry>> = {
  attach,
  commit,
  cp,
  create,
  diff,
  events,
  export: exportCommand,
  history,
  import: imageImport,
  inspect,
  kill,
  load,
  logs,
  pause,
  port,
  rename,
  restart,
  rm,
  rmi,
  save,
  start,
  stats,
  stop,
  tag,
  top,
  unpause,
  update,
  wait,
  why,
};

/** `vitrine GROUP COMMAND`; `aliases` are further names of its commands. */
export interface CommandGroup {
  readonly summary: string;
  readonly commands: Readonly<Record<string, CommandEntry>>;
  readonly aliases: Readonly<Record<string, string>>;
}

export const groups: Readonly<Record<string, CommandGroup>> = {
  builder: {
    summary: "Manage builds",
    commands: {
      build,
      du: entry("Disk usage of the build cache", () => import("./commands/builder-du.ts")),
      prune: entry("Remove build cache", () => import("./commands/builder-prune.ts")),
    },
    aliases: {},
  },
  container: {
    summary: "Manage containers",
    commands: {
      attach,
      commit,
      cp,
      create,
      diff,
      exec,
      export: exportCommand,
      inspect: entry(
        "Display detailed information on one or more containers",
        () => import("./commands/container-inspect.ts"),
      ),
      kill,
      logs,
      ls: ps,
      pause,
      port,
      prune: entry("Remove all stopped containers", () => import("./commands/container-prune.ts")),
      rename,
      restart,
      rm,
      run,
      start,
      stats,
      stop,
      top,
      unpause,
      update,
      wait,
    },
    aliases: { list: "ls", ps: "ls", remove: "rm" },
  },
  image: {
    summary: "Manage images",
    commands: {
      build,
      "from-host": fromHost,
      history,
      import: imageImport,
      inspect: entry("Display detailed information on one or more images", () => import("./commands/image-inspect.ts")),
      load,
      ls: images,
      prune: entry("Remove unused images", () => import("./commands/image-prune.ts")),
      pull,
      push,
      rm: rmi,
      save,
      tag,
    },
    aliases: { list: "ls", remove: "rm" },
  },
  network: {
    summary: "Manage networks",
    commands: {
      inspect: entry(
        "Display detailed information on one or more networks",
        () => import("./commands/network-inspect.ts"),
      ),
      ls: entry("List networks", () => import("./commands/network-ls.ts")),
    },
    aliases: { list: "ls" },
  },
  manifest: {
    summary: "Look at manifests in registries",
    commands: {
      inspect: entry("Display an image manifest, or manifest list", () => import("./commands/manifest-inspect.ts")),
    },
    aliases: {},
  },
  system: {
    summary: "Manage Vitrine",
    commands: {
      check: entry(
        "Verify images, layers, blobs and records, and say what is wrong with them",
        () => import("./commands/system-check.ts"),
      ),
      df: entry("Show disk usage", () => import("./commands/system-df.ts")),
      events,
      info,
      prune: entry("Remove unused data", () => import("./commands/system-prune.ts")),
    },
    aliases: {},
  },
  volume: {
    summary: "Manage volumes",
    commands: {
      create: entry("Create a volume", () => import("./commands/volume-create.ts")),
      inspect: entry(
        "Display detailed information on one or more volumes",
        () => import("./commands/volume-inspect.ts"),
      ),
      ls: entry("List volumes", () => import("./commands/volume-ls.ts")),
      prune: entry("Remove unused local volumes", () => import("./commands/volume-prune.ts")),
      rm: entry("Remove one or more volumes", () => import("./commands/volume-rm.ts")),
    },
    aliases: { list: "ls", remove: "rm" },
  },
};

export function findCommand(name: string): CommandEntry | undefined {
  for (const table of [commonCommands, glassCommands, otherCommands]) {
    if (Object.hasOwn(table, name)) return table[name];
  }
  return undefined;
}
