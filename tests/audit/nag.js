// Runs the rule packs of cdk-nag over a template; prints each finding as JSON, one in a line.
// usage: node nag.js TEMPLATE.json
const { App, Aspects, Stack } = require('aws-cdk-lib');
const { CfnInclude } = require('aws-cdk-lib/cloudformation-include');
const nag = require('cdk-nag');

const PACKS = {
  'AwsSolutions': nag.AwsSolutionsChecks,
  'PCI DSS 3.2.1': nag.PCIDSS321Checks,
  'NIST 800-53 R4': nag.NIST80053R4Checks,
  'NIST 800-53 R5': nag.NIST80053R5Checks,
  'HIPAA Security': nag.HIPAASecurityChecks,
  'Serverless': nag.ServerlessChecks,
};

class Printer {
  constructor(pack) {
    this.pack = pack;
  }
  print(data, reason) {
    const rule = data.findingId ? `${data.ruleId}[${data.findingId}]` : data.ruleId;
    this.write(data, rule, data.ruleInfo, reason);
  }
  // A rule that cannot be tried is a finding as well.
  printError(data, reason) {
    const says = `The rule cannot be tried (${data.ruleInfo})`;
    this.write(data, `CdkNagValidationFailure[${data.ruleId}]`, says, reason);
  }
  write(data, rule, says, reason) {
    const resource = data.resource.node.id;
    console.log(JSON.stringify({ checker: this.pack, rule, resource, says, reason }));
  }
  onCompliance() {}
  onNotApplicable() {}
  onNonCompliance(data) { this.print(data, ''); }
  onSuppressed(data) { this.print(data, data.suppressionReason); }
  onError(data) { this.printError(data, ''); }
  onSuppressedError(data) { this.printError(data, data.errorSuppressionReason); }
}

const [templateFile] = process.argv.slice(2);
const app = new App();
const stack = new Stack(app, 'Audit');
new CfnInclude(stack, 'Template', { templateFile });
for (const [name, Pack] of Object.entries(PACKS)) {
  Aspects.of(stack).add(new Pack({ reports: false, additionalLoggers: [new Printer(name)] }));
}
app.synth();
