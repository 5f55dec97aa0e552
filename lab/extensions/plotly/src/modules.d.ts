declare module "plotly.js/dist/plotly.min.js" {
  const plotly: unknown;
  export default plotly;
}
