/* A page that is opened from a folder may start no worker, and the search of the site is one. There a hidden frame
   stands in: it runs the same script, and takes and gives the same messages. The theme looks for it by its name. */
"use strict";
(() => {
  class FrameWorker extends EventTarget {
    onmessage = null;
    #frame = document.createElement("iframe");
    #ready;

    constructor(url) {
      super();
      this.#frame.hidden = true;
      document.body.append(this.#frame);
      const inner = this.#frame.contentWindow;
      // Opened once: else a browser may put an empty page in place of what is written into the frame.
      inner.document.open();
      inner.document.write("<!doctype html><title>worker</title><body></body>");
      inner.document.close();
      const run = (source) =>
        new Promise((done, failed) => {
          const script = inner.document.createElement("script");
          script.src = new URL(source, document.baseURI).href;
          script.onload = done;
          script.onerror = () => failed(new Error(`${source} can't be loaded`));
          inner.document.body.append(script);
        });
      inner.postMessage = (data) => setTimeout(() => this.#tell(structuredClone(data)));
      inner.importScripts = async (...sources) => {
        for (const source of sources) await run(source);
      };
      this.#ready = run(url).catch((error) => this.dispatchEvent(new ErrorEvent("error", { error })));
    }

    async postMessage(data) {
      await this.#ready;
      const inner = this.#frame.contentWindow;
      inner?.dispatchEvent(new inner.MessageEvent("message", { data: structuredClone(data) }));
    }

    terminate() {
      this.#frame.remove();
    }

    #tell(data) {
      const message = new MessageEvent("message", { data });
      this.dispatchEvent(message);
      this.onmessage?.(message);
    }
  }

  window.IFrameWorker = FrameWorker;
  if (location.protocol === "file:") window.Worker = FrameWorker;
})();
