// Talking to the server: JSON, uploads with progress, jobs that are followed to their end.

export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export class Cancelled extends Error {}

async function answerOf(response) {
  if (response.ok) return response;
  let told = `the server answered ${response.status}`;
  try {
    told = (await response.json()).error ?? told;
  } catch {
    // not JSON: keep the number
  }
  throw new ServerError(told, response.status);
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ServerError("the server cannot be reached; is it still running?", 0);
  }
  return answerOf(response);
}

export const get = async (path) => (await send(path)).json();
export const remove = async (path) => (await send(path, { method: "DELETE" })).json();

const posted = (value) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });
export const post = async (path, value = {}) => (await send(path, posted(value))).json();

export const postForFile = async (path, value) => (await send(path, posted(value))).blob();

// fetch cannot tell how far an upload is; XMLHttpRequest can.
export function upload(path, blob, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new ServerError("the upload failed; is the server still running?", 0));
    request.onload = () => {
      let answer = {};
      try {
        answer = JSON.parse(request.responseText);
      } catch {
        // an answer without text
      }
      if (request.status < 300) resolve(answer);
      else reject(new ServerError(answer.error ?? `the server answered ${request.status}`, request.status));
    };
    request.send(blob);
  });
}

// Wait for a job's end; tells of every change. Gives what the job gave.
export async function follow(job, onChange = () => {}) {
  for (;;) {
    onChange(job);
    if (job.state === "done") return job.outcome;
    if (job.state === "cancelled") throw new Cancelled();
    if (job.state === "failed") throw new ServerError(job.error, 400);
    job = await get(`api/jobs/${job.id}?after=${job.version}`);
  }
}

export const cancel = (job) => remove(`api/jobs/${job.id}`);

export function viewUrl(photo, fill, box, width, height) {
  const query = new URLSearchParams({ ...box, width, height });
  if (fill) query.set("fill", fill);
  return `api/photos/${photo.id}/view?${query}`;
}

export const wholeOf = (photo) => ({ left: 0, top: 0, right: photo.width, bottom: photo.height });

export async function bitmapOf(url) {
  const response = await send(url);
  return createImageBitmap(await response.blob());
}

export function saveBlob(blob, name) {
  saveUrl(URL.createObjectURL(blob), name);
}

export function saveUrl(url, name = "") {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  if (url.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
