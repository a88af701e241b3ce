// What the viewer needs of three.js (https://threejs.org, MIT), bundled into three_for_viewer.min.js by
//   npm install three@0.187.0 esbuild@0.25.12
//   npx esbuild three_for_viewer.js --bundle --minify --format=iife --global-name=THREE --legal-comments=none --banner:js='/*! three.js 0.187.0, Copyright 2010-2026 three.js authors, MIT License, https://threejs.org */' --outfile=three_for_viewer.min.js
export {
  BufferAttribute,
  BufferGeometry,
  Color,
  ColorManagement,
  Line,
  LineBasicMaterial,
  LineSegments,
  PerspectiveCamera,
  Plane,
  Points,
  PointsMaterial,
  Scene,
  Vector3,
  WebGLRenderer,
} from "three";
export { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
