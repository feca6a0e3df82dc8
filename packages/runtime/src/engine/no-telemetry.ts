/**
 * onnxruntime's builds for some systems report how they are used to their maker, and keep files for that in the temporary
 * folder (1.30.0 for Linux does both). What runs here is nobody else's business. To be imported before onnxruntime, which
 * reads the variable while it is loaded; whoever wants the reports sets it to 0.
 */
process.env['ORT_DISABLE_TELEMETRY'] ??= '1';
