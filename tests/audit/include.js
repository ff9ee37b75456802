// Includes a template in a CDK app, and prints what that synthesizes, as JSON.
// usage: node include.js TEMPLATE
const { App, DefaultStackSynthesizer, Stack } = require('aws-cdk-lib');
const { CfnInclude } = require('aws-cdk-lib/cloudformation-include');

const [templateFile] = process.argv.slice(2);
const app = new App({ analyticsReporting: false });
const synthesizer = new DefaultStackSynthesizer({ generateBootstrapVersionRule: false });
const stack = new Stack(app, 'Included', { synthesizer });
const included = new CfnInclude(stack, 'Template', { templateFile });
// What docs/deploying.md asks for where there is a canary.
for (const kind of ['Validation', 'Processing']) {
  const alias = included.node.tryFindChild(`${kind}Alias`);
  if (alias) {
    alias.cfnOptions.updatePolicy = undefined;
    alias.addOverride('UpdatePolicy.CodeDeployLambdaAliasUpdate', {
      'Fn::If': [
        'ShiftsTraffic',
        {
          ApplicationName: { Ref: 'CanaryApplication' },
          DeploymentGroupName: { Ref: `${kind}DeploymentGroup` },
        },
        { Ref: 'AWS::NoValue' },
      ],
    });
  }
}
console.log(JSON.stringify(app.synth().getStackByName(stack.stackName).template));
