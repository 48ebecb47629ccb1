// Search runs in a worker, and a browser gives a page that was opened from a folder none. So there, and only there, a
// hidden frame stands for the worker: it runs the worker's script and passes messages in both directions.
"use strict";

class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.onmessage = null;
    this.onerror = null;
    this.waiting = [];
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    this.frame.title = "search";
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    const page = inside.document;
    page.open();
    page.write("<!DOCTYPE html><title>search</title>");
    page.close();
    // What the script takes for the functions of a worker.
    inside.postMessage = (data) => {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    };
    inside.importScripts = (...urls) =>
      urls.reduce((before, each) => before.then(() => this.load(each)), Promise.resolve());
    this.load(url).then(() => {
      const messages = this.waiting;
      this.waiting = null;
      for (const data of messages) this.deliver(data);
    });
  }

  load(url) {
    return new Promise((done, failed) => {
      const script = this.frame.contentWindow.document.createElement("script");
      script.src = new URL(url, document.baseURI).href;
      script.onload = done;
      script.onerror = (event) => {
        if (this.onerror) this.onerror(event);
        failed(new Error(`cannot load ${url}`));
      };
      this.frame.contentWindow.document.head.append(script);
    });
  }

  deliver(data) {
    const inside = this.frame.contentWindow;
    inside.dispatchEvent(new inside.MessageEvent("message", { data }));
  }

  postMessage(data) {
    if (this.waiting) this.waiting.push(data);
    else this.deliver(data);
  }

  terminate() {
    this.frame.remove();
  }
}

if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker; // the worker's script asks for this name to find out where it runs
  window.Worker = IFrameWorker;
}
