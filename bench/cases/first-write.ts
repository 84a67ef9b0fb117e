import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Figure } from "../figures.ts";
import { docker } from "../programs.ts";
import { api, image, type Stage } from "../stage.ts";

const fileMegabytes = 1024;
const rounds = 3;
const largeImage = "bench-large";
const volume = "bench-data";
/** The copy-up: the first byte written to a large file of the image copies all of it, one written to a volume copies nothing. */
export async function firstWrite({ engine, folder }: Stage): Promise<Figure> {
  const { socket } = engine;
  await makeImage(socket, folder);
  const inImage: number[] = [];
  const inVolume: number[] = [];
  for (let round = 0; round < rounds; round++) {
    inVolume.push(await timed(socket, { path: "/data/large", binds: [`${volume}:/data`] }));
    inImage.push(await timed(socket, { path: "/large", binds: [] }));
  }
  await api(socket, `DELETE /volumes/${volume}?force=1`);
  const series = [
    { engine: "volume", samples: inVolume },
    { engine: "file of the image", samples: inImage },
  ];
  return {
    title: `First byte into a file of ${fileMegabytes} MB, start and end of its container included`,
    unit: "ms",
    series,
  };
}

/** The image by a build, the volume by a container that copies the image's file there: both files are then in the page cache alike. */
async function makeImage(socket: string, folder: string): Promise<void> {
  const context = join(folder, "large");
  const make = ["busybox", "dd", "if=/dev/zero", "of=/large", "bs=1M", `count=${fileMegabytes}`];
  mkdirSync(context);
  writeFileSync(join(context, "Dockerfile"), `FROM ${image}\nRUN ${JSON.stringify(make)}\n`);
  await docker(socket, "build", "-q", "-t", largeImage, context);
  await docker(socket, "run", "--rm", "-v", `${volume}:/data`, largeImage, "busybox", "cp", "/large", "/data/large");
}

async function timed(socket: string, options: { path: string; binds: string[] }): Promise<number> {
  const { Id } = await api(socket, "POST /containers/create", {
    Image: largeImage,
    Cmd: ["busybox", "dd", "if=/dev/zero", `of=${options.path}`, "bs=1", "count=1", "conv=notrunc"],
    HostConfig: { Binds: options.binds },
  });
  const path = `/containers/${String(Id)}` as const;
  const begin = performance.now();
  await api(socket, `POST ${path}/start`);
  await api(socket, `POST ${path}/wait`);
  const taken = performance.now() - begin;
  await api(socket, `DELETE ${path}?v=1`);
  return taken;
}
