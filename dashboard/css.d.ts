/** Styles: esbuild puts them into one file. */
declare module '*.css'
