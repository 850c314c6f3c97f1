() => {
  // A colour as a browser computes it, whatever form it prints it in: painted on a pixel, and read from that.
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pixel.getImageData(0, 0, 1, 1).data;
    return { parts: [red, green, blue], alpha: alpha / 255 };
  };
  const mixed = (over, under, alpha) => over.map((part, index) => part * alpha + under[index] * (1 - alpha));
  // Relative luminance and contrast ratio: WCAG 2.2.
  const luminance = (parts) => parts
    .map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element) => {
    if (element.matches("svg text")) return rgb(getComputedStyle(element.parentElement.querySelector(":scope > rect")).fill).parts;
    for (let here = element; here; here = here.parentElement) {
      const { parts, alpha } = rgb(getComputedStyle(here).backgroundColor);
      if (alpha === 1) return parts;
    }
    return [255, 255, 255];
  };
  const shown = [...document.querySelectorAll("body *")].filter((element) =>
    !["SCRIPT", "NOSCRIPT", "TITLE", "title"].includes(element.tagName) && !element.closest("noscript, script")
    && [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim())
    && element.checkVisibility());
  const low = [];
  for (const element of shown) {
    const style = getComputedStyle(element);
    const ground = behind(element);
    const colour = rgb(element.matches("svg text") ? style.fill : style.color);
    const seen = mixed(colour.parts, ground, colour.alpha * Number(style.opacity));
    const found = ratio(seen, ground);
    if (found < 4.5) low.push(`${element.tagName} ${element.className.baseVal ?? element.className}: ${found.toFixed(2)}`);
  }
  return [shown.length, low];
}
