import tseslint from "typescript-eslint";

const noDefaultExport = {
  selector: "ExportDefaultDeclaration",
  message: "Name what a module exports: a default export has no name to search for.",
};
const topLevelAwait = {
  selector: "Program > :matches(ExpressionStatement, VariableDeclaration, ExportNamedDeclaration) AwaitExpression:not(:function *)",
  message: "The library has no top-level await: require() of it must work.",
};

export default tseslint.config(
  { ignores: ["dist/", "build/", "build-*/", "prebuilds/", "node_modules/", "radiology-run/", ".tap/"] },
  {
    files: ["**/*.ts", "**/*.cts", "**/*.mts"],
    extends: [tseslint.configs.strict],
    languageOptions: {
      parserOptions: {
        project: ["./tsconfig.json", "./test/tsconfig.json", "./bench/tsconfig.json"],
        tsconfigRootDir: import.meta.dirname,
      },
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "no-restricted-syntax": ["error", noDefaultExport],
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-floating-promises": "error",
      "@typescript-eslint/no-misused-promises": "error",
      "@typescript-eslint/no-invalid-void-type": "off",
      "@typescript-eslint/no-unnecessary-type-assertion": "error",
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrorsIgnorePattern: "^_", ignoreRestSiblings: true },
      ],
      "@typescript-eslint/only-throw-error": ["error", { allowThrowingUnknown: true }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    },
  },
  { files: ["lib/**/*.ts"], rules: { "no-console": "error", "no-restricted-syntax": ["error", noDefaultExport, topLevelAwait] } },
  // Everything that the command line prints goes through its own writer or the console.
  { files: ["lib/cli/**/*.ts"], rules: { "no-console": "off" } },
  // tap's own functions return promises that tap itself waits for.
  {
    files: ["test/**/*.ts"],
    rules: { "@typescript-eslint/no-floating-promises": "off", "@typescript-eslint/no-non-null-assertion": "off" },
  },
);
