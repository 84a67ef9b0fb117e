import * as v from "valibot";
import type {
  ContainerConfig,
  ContainerCreateRequest,
  ExecCreateRequest,
  Resources,
  RestartPolicy,
} from "../spec/index.ts";

// Shapes of request bodies. Unknown keys pass, as they do in Docker; a known key of the wrong type does not.
const text = v.optional(v.string());
const flag = v.optional(v.boolean());
const nullableFlag = v.nullish(v.boolean());
const number = v.optional(v.pipe(v.number(), v.integer()));
const nullableNumber = v.nullish(v.pipe(v.number(), v.integer()));
const texts = v.nullish(v.array(v.string()));
const textMap = v.nullish(v.record(v.string(), v.string()));
const emptyMap = v.nullish(v.record(v.string(), v.looseObject({})));
/** `"sh"` stands for `["sh"]`, as Docker's StrSlice decodes. */
const command = v.nullish(
  v.union([
    v.array(v.string()),
    v.pipe(
      v.string(),
      v.transform((one) => [one]),
    ),
  ]),
);

const health = v.nullish(
  v.looseObject({
    Test: texts,
    Interval: number,
    Timeout: number,
    StartPeriod: number,
    StartInterval: number,
    Retries: number,
  }),
);

const resourceEntries = {
  CpuShares: number,
  NanoCpus: number,
  Memory: number,
  MemoryReservation: number,
  MemorySwap: number,
  MemorySwappiness: nullableNumber,
  CgroupParent: text,
  BlkioWeight: number,
  CpuPeriod: number,
  CpuQuota: number,
  CpusetCpus: text,
  CpusetMems: text,
  Devices: v.nullish(
    v.array(
      v.looseObject({
        PathOnHost: v.string(),
        PathInContainer: v.optional(v.string(), ""),
        CgroupPermissions: v.optional(v.string(), "rwm"),
      }),
    ),
  ),
  DeviceCgroupRules: texts,
  OomKillDisable: nullableFlag,
  PidsLimit: nullableNumber,
  Ulimits: v.nullish(v.array(v.looseObject({ Name: v.string(), Soft: v.number(), Hard: v.number() }))),
};

const portBindings = v.nullish(
  v.record(v.string(), v.nullish(v.array(v.looseObject({ HostIp: text, HostPort: text })))),
);

const mounts = v.nullish(
  v.array(
    v.looseObject({
      Type: v.picklist(["bind", "volume", "tmpfs", "image", "npipe", "cluster"]),
      Source: text,
      Target: v.string(),
      ReadOnly: flag,
      BindOptions: v.nullish(v.looseObject({ Propagation: text, NonRecursive: flag, CreateMountpoint: flag })),
      VolumeOptions: v.nullish(v.looseObject({ NoCopy: flag, Labels: textMap, Subpath: text })),
      TmpfsOptions: v.nullish(v.looseObject({ SizeBytes: number, Mode: number })),
    }),
  ),
);

const restartPolicy = v.looseObject({
  Name: v.optional(v.picklist(["", "no", "always", "unless-stopped", "on-failure"])),
  MaximumRetryCount: number,
});

const hostConfig = v.looseObject({
  ...resourceEntries,
  Binds: texts,
  LogConfig: v.nullish(v.looseObject({ Type: text, Config: textMap })),
  NetworkMode: text,
  PortBindings: portBindings,
  RestartPolicy: v.nullish(restartPolicy),
  AutoRemove: flag,
  VolumesFrom: texts,
  Mounts: mounts,
  CapAdd: command,
  CapDrop: command,
  CgroupnsMode: v.optional(v.picklist(["", "host", "private"])),
  Dns: texts,
  DnsOptions: texts,
  DnsSearch: texts,
  ExtraHosts: texts,
  GroupAdd: texts,
  IpcMode: text,
  Links: texts,
  OomScoreAdj: number,
  PidMode: text,
  Privileged: flag,
  PublishAllPorts: flag,
  ReadonlyRootfs: flag,
  SecurityOpt: texts,
  StorageOpt: textMap,
  Tmpfs: textMap,
  UTSMode: text,
  UsernsMode: text,
  ShmSize: number,
  Sysctls: textMap,
  Runtime: text,
  Isolation: text,
  MaskedPaths: texts,
  ReadonlyPaths: texts,
  Init: nullableFlag,
});

const containerConfigEntries = {
  Hostname: text,
  Domainname: text,
  User: text,
  ExposedPorts: emptyMap,
  Env: texts,
  Cmd: command,
  Entrypoint: command,
  Volumes: emptyMap,
  WorkingDir: text,
  Labels: textMap,
  StopSignal: text,
  StopTimeout: nullableNumber,
  Shell: texts,
  Healthcheck: health,
  Image: text,
  Tty: flag,
  AttachStdin: flag,
  AttachStdout: flag,
  AttachStderr: flag,
  OpenStdin: flag,
  StdinOnce: flag,
  MacAddress: text,
  NetworkDisabled: flag,
};

const endpoints = v.nullish(
  v.looseObject({
    EndpointsConfig: v.nullish(
      v.record(
        v.string(),
        v.nullish(
          v.looseObject({
            IPAMConfig: v.nullish(v.looseObject({ IPv4Address: text, IPv6Address: text })),
            Links: texts,
            Aliases: texts,
            MacAddress: text,
            DriverOpts: textMap,
          }),
        ),
      ),
    ),
  }),
);

export const containerCreate = v.pipe(
  v.looseObject({ ...containerConfigEntries, HostConfig: v.nullish(hostConfig), NetworkingConfig: endpoints }),
  v.transform((body) => body as unknown as ContainerCreateRequest),
);

/** The body of `POST /vitrine/build/check`: texts of a Dockerfile and its ignore file, and options of the build. */
export const buildCheck = v.pipe(
  v.strictObject({
    FileName: v.string(),
    Dockerfile: v.string(),
    Ignore: v.optional(v.string()),
    Target: text,
    Arguments: v.optional(v.record(v.string(), v.nullable(v.string())), {}),
  }),
  v.transform(({ FileName, Dockerfile, Ignore, Target, Arguments }) => {
    return { fileName: FileName, dockerfile: Dockerfile, ignore: Ignore, target: Target, arguments: Arguments };
  }),
);

/** The body of `POST /commit`: a config, `{}` or `null`. */
export const containerConfig = v.nullable(
  v.pipe(
    v.looseObject(containerConfigEntries),
    v.transform((body) => body as unknown as ContainerConfig),
  ),
);

export const containerUpdate = v.pipe(
  v.looseObject({ ...resourceEntries, RestartPolicy: v.nullish(restartPolicy) }),
  v.transform((body) => body as unknown as Resources & { RestartPolicy?: RestartPolicy }),
);

const consoleSize = v.nullish(v.tuple([v.number(), v.number()]));

export const execCreate = v.pipe(
  v.looseObject({
    AttachStdin: flag,
    AttachStdout: flag,
    AttachStderr: flag,
    DetachKeys: text,
    Tty: flag,
    Env: texts,
    Cmd: command,
    Privileged: flag,
    User: text,
    WorkingDir: text,
    ConsoleSize: consoleSize,
  }),
  v.transform((body) => body as unknown as ExecCreateRequest),
);

export const execStart = v.looseObject({ Detach: flag, Tty: flag, ConsoleSize: consoleSize });

export const volumeCreate = v.looseObject({ Name: text, Driver: text, DriverOpts: textMap, Labels: textMap });
