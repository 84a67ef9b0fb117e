// A build's graph: operations as data, each keyed by what it says and by the operations it takes from.
import type { Position } from "./dockerfile-error.ts";
import type { BindMount, CacheMount, SecretMount, SshMount, TmpfsMount } from "./run-mounts.ts";

/** `sha256:…` over an operation and its inputs: one operation of a graph, and in BuildKit's words a vertex. */
export type OperationId = string;

export type Operation =
  ImageOperation | LocalOperation | HttpOperation | GitOperation | ExecOperation | FileOperation | MergeOperation;

/** The files of an image that is here. */
export interface ImageOperation {
  readonly kind: "image";
  readonly inputs: readonly [];
  /** As FROM or --from has it. */
  readonly reference: string;
  /** `sha256:…` of its config. */
  readonly imageId: string;
  /** chainIDs, lowest first. */
  readonly layers: readonly string[];
}

/** A folder that the client holds. */
export interface LocalOperation {
  readonly kind: "local";
  readonly inputs: readonly [];
  /** As the session knows it: `context`, or a named context's. */
  readonly name: string;
  /** Patterns of .dockerignore. */
  readonly exclude: readonly string[];
}

/** A file of the web: a folder with that one file. */
export interface HttpOperation {
  readonly kind: "http";
  readonly inputs: readonly [];
  readonly url: string;
  /** `sha256:…` that it must have. */
  readonly checksum?: string;
}

/** A commit of a repository: a folder with its tree. */
export interface GitOperation {
  readonly kind: "git";
  readonly inputs: readonly [];
  /** `https://host/path.git#reference:folder` */
  readonly url: string;
  readonly keepGitDirectory: boolean;
  /** Commit that it must be. */
  readonly checksum?: string;
}

/** A command. Its first input is the root; those of bind and cache mounts with `from` follow. */
export interface ExecOperation {
  readonly kind: "exec";
  readonly inputs: readonly (OperationId | undefined)[];
  readonly command: readonly string[];
  /** `NAME=value`. */
  readonly environment: readonly string[];
  /** Variables that the result may not depend on (proxies): not part of any key. */
  readonly quietEnvironment: readonly string[];
  readonly workingDirectory: string;
  readonly user: string;
  readonly network: string;
  readonly security: "sandbox" | "insecure";
  /** Whose programs run, where that is another than this machine. */
  readonly platform?: string;
  readonly mounts: readonly ExecMount[];
  /** `name:address`. */
  readonly hosts: readonly string[];
}

/** A mount of RUN with its target absolute. `input` is an index into the operation's inputs; without one it is an empty folder. */
export type ExecMount =
  ((BindMount | CacheMount) & { readonly input: number | undefined }) | TmpfsMount | SecretMount | SshMount;

/** Changes to the files of the first input, in order. Others are where files are copied from. */
export interface FileOperation {
  readonly kind: "file";
  readonly inputs: readonly (OperationId | undefined)[];
  readonly actions: readonly FileAction[];
}

export type FileAction = CopyAction | MakeFileAction | MakeDirectoryAction;

export interface CopyAction {
  readonly type: "copy";
  readonly instruction: "COPY" | "ADD";
  /** Index into the operation's inputs. */
  readonly input: number;
  /** Paths in the source, perhaps with wildcards. */
  readonly sources: readonly string[];
  /** Absolute; ends with a slash where it is a folder by its name. */
  readonly destination: string;
  /** `user[:group]`, names looked up in the first input's files. */
  readonly owner: string | undefined;
  /** Octal, or symbolic as in chmod(1). */
  readonly mode: string | undefined;
  /** Where no owner is given: files keep theirs (of stages and images), or are root's. */
  readonly keepOwner: boolean;
  readonly unpack: boolean;
  readonly parents: boolean;
  readonly exclude: readonly string[];
  readonly isContext: boolean;
}

export interface MakeFileAction {
  readonly type: "makeFile";
  /** Absolute, or a folder where it ends with a slash or is one. */
  readonly destination: string;
  readonly name: string;
  readonly content: string;
  readonly owner: string | undefined;
  readonly mode: string | undefined;
}

export interface MakeDirectoryAction {
  readonly type: "makeDirectory";
  readonly path: string;
}

/** The layers of the others, made without regard to the first, on top of the first. */
export interface MergeOperation {
  readonly kind: "merge";
  readonly inputs: readonly OperationId[];
}

/** An operation with what people are told of it. */
export interface GraphNode {
  readonly id: OperationId;
  readonly operation: Operation;
  /** `[build 2/4] RUN make` */
  readonly name: string;
  /** Where it stands, for errors. */
  readonly place?: { readonly instruction: string; readonly position: Position; readonly endLine: number };
  /** Runs again whatever the cache has. */
  readonly ignoreCache: boolean;
}
